/** When a queue is long for good, and not for a burst. */
export interface LongQueuePolicy {
  /** Share of the promised time to first token that a wait may take. */
  readonly delayShare: number;
  /** How long waits must be longer before the queue counts as overloaded, ms. */
  readonly heldMs: number;
}

/** Whether the turns of one class wait too long. Plain data. */
export interface LongQueueState {
  /** Since when the longest wait is too long without a break, ms; null while it is not. */
  readonly lateSinceMs: number | null;
  readonly isOverloaded: boolean;
}

/** Nobody waits. */
export const shortQueue: LongQueueState = { lateSinceMs: null, isOverloaded: false };

/**
 * Decides whether a class is overloaded: its longest wait is over `delayShare` of its promise for `heldMs`. It is over as soon
 * as the longest wait is short again. `oldestMs` is the age of the longest waiting turn, null when none waits.
 */
export function stepLongQueue(
  state: LongQueueState,
  oldestMs: number | null,
  sloMs: number,
  nowMs: number,
  policy: LongQueuePolicy,
): LongQueueState {
  if (oldestMs === null || oldestMs <= policy.delayShare * sloMs) return shortQueue;
  const lateSinceMs = Math.min(nowMs, state.lateSinceMs ?? nowMs);
  return { lateSinceMs, isOverloaded: nowMs - lateSinceMs >= policy.heldMs };
}
