/** Numbers of the controlled delay. */
export interface CodelPolicy {
  /** Share of the promised time to first token that a wait may take for good. */
  readonly targetShare: number;
  /** How long waits must be longer before one is dropped, ms. */
  readonly intervalMs: number;
}

/** Where the controller of one class stands. Plain data; each state has only its own fields. */
export type CodelState =
  | { readonly kind: "below" }
  | { readonly kind: "above"; readonly sinceMs: number }
  | { readonly kind: "dropping"; readonly nextDropMs: number; readonly count: number };

/** Waits are short. */
export const codelBelow: CodelState = { kind: "below" };

/** The next state, and whether the longest waiting turn is dropped. Ask again with the next one until it is not. */
export interface CodelStep {
  readonly state: CodelState;
  readonly isDropped: boolean;
}

/**
 * Controlled delay (RFC 8289, section 4): once waits are over the target for a whole interval a turn is dropped, then further
 * ones at `interval / sqrt(count)` until waits are short again. `oldestMs` is the age of the longest waiting turn, null when
 * none waits.
 */
export function stepCodel(
  state: CodelState,
  oldestMs: number | null,
  sloMs: number,
  nowMs: number,
  policy: CodelPolicy,
): CodelStep {
  if (oldestMs === null || oldestMs < policy.targetShare * sloMs) {
    return { state: codelBelow, isDropped: false };
  }
  switch (state.kind) {
    case "below":
      return { state: { kind: "above", sinceMs: nowMs }, isDropped: false };
    case "above": {
      if (nowMs - state.sinceMs < policy.intervalMs) return { state, isDropped: false };
      const nextDropMs = nowMs + policy.intervalMs;
      return { state: { kind: "dropping", nextDropMs, count: 1 }, isDropped: true };
    }
    case "dropping": {
      if (nowMs < state.nextDropMs) return { state, isDropped: false };
      const count = state.count + 1;
      const nextDropMs = state.nextDropMs + policy.intervalMs / Math.sqrt(count);
      return { state: { kind: "dropping", nextDropMs, count }, isDropped: true };
    }
  }
}
