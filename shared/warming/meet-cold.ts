/** What is known when a prompt finds no running shard of its model in its cell. */
export interface ColdMeeting {
  /** Expected time until the first of them runs, ms > 0. */
  readonly readyInMs: number;
  readonly deadlineMs: number;
  /** Whether another cell may still take the prompt: it has been passed on by none. */
  readonly mayMove: boolean;
  /** Whether a cell of the jurisdiction is thought to have a running shard of the model. */
  readonly hasWarmNeighbour: boolean;
}

/** Where the prompt goes; the reason is metric label and log field. */
export type ColdDecision =
  /** To another cell, now. */
  | { readonly kind: "move"; readonly reason: "coldElsewhere"; readonly retryAfterMs: number }
  /** It waits here for the start, once; no longer than until `expiresAtMs`. */
  | { readonly kind: "wait"; readonly reason: "coldStart"; readonly expiresAtMs: number }
  /** It would wait past its deadline. */
  | { readonly kind: "refuse"; readonly reason: "coldTooLong"; readonly retryAfterMs: number };

/** A start is waited for this many times its expected time, and at least this long: most that are later never come (our choice). */
const patienceFactor = 3;
const patienceMsMin = 10_000;

/**
 * Decides about a prompt that meets only cold shards: a running one elsewhere answers sooner than any start; a start that is
 * expected before the deadline is waited for; else the refusal comes at once and says when it is worth coming back.
 */
export function meetCold(meeting: ColdMeeting, nowMs: number): ColdDecision {
  const { deadlineMs, hasWarmNeighbour, mayMove, readyInMs } = meeting;
  const retryAfterMs = Math.ceil(readyInMs / 1_000) * 1_000;
  if (mayMove && hasWarmNeighbour) return { kind: "move", reason: "coldElsewhere", retryAfterMs };
  if (nowMs + readyInMs > deadlineMs)
    return { kind: "refuse", reason: "coldTooLong", retryAfterMs };
  const patienceMs = Math.max(patienceMsMin, patienceFactor * readyInMs);
  const expiresAtMs = Math.min(deadlineMs, nowMs + patienceMs);
  return { kind: "wait", reason: "coldStart", expiresAtMs };
}
