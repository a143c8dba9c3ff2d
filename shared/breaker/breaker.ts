/** Numbers of the breaker; starting values after Envoy's outlier detection defaults (5 in a row, back-off by count). */
export interface BreakerPolicy {
  /** Failures in a row that open it. */
  readonly consecutiveFailuresMax: number;
  /** Share of failures that opens it, with at least `windowRequestsMin` requests in `windowMs`. */
  readonly failureRatioMax: number;
  readonly windowRequestsMin: number;
  readonly windowMs: number;
  /** First time open, ms; doubled each time in a row, up to `openMsMax`; ± `jitterRatio`. */
  readonly openMs: number;
  readonly openMsMax: number;
  readonly jitterRatio: number;
  /** Successes that close it again; half-open lets 1, 2, 4… requests through at once. */
  readonly closingSuccesses: number;
  /** How long the weight rises from `slowStartWeight` to 1 after closing, ms; 0 for none. */
  readonly slowStartMs: number;
  readonly slowStartWeight: number;
}

export const defaultBreakerPolicy: BreakerPolicy = {
  consecutiveFailuresMax: 5,
  failureRatioMax: 0.5,
  windowRequestsMin: 10,
  windowMs: 10_000,
  openMs: 5_000,
  openMsMax: 120_000,
  jitterRatio: 0.2,
  closingSuccesses: 5,
  slowStartMs: 60_000,
  slowStartWeight: 0.1,
};

/** Each state has only its own fields. `trips` counts openings in a row. */
export type BreakerState =
  | {
      readonly kind: "closed";
      readonly v: 1;
      readonly failuresInRow: number;
      readonly windowStartMs: number;
      readonly requests: number;
      readonly failures: number;
      /** When it last closed after having been open; null when it never was. */
      readonly closedAtMs: number | null;
      readonly trips: number;
    }
  | { readonly kind: "open"; readonly v: 1; readonly untilMs: number; readonly trips: number }
  | {
      readonly kind: "halfOpen";
      readonly v: 1;
      readonly leased: number;
      readonly successes: number;
      readonly trips: number;
    };

/** `lease`: one request is let through. The others say how one ended; `neutral` for what is nobody's fault. */
export type BreakerEvent = "lease" | "success" | "failure" | "neutral";

export type BreakerReason =
  | "counted"
  | "tripped"
  | "reopened"
  | "closed"
  | "probing"
  | "refused"
  | "late";

export interface BreakerStep {
  readonly state: BreakerState;
  readonly reason: BreakerReason;
}

/** A breaker that lets traffic flow. */
export function closedBreaker(nowMs: number): BreakerState {
  return {
    kind: "closed",
    v: 1,
    failuresInRow: 0,
    windowStartMs: nowMs,
    requests: 0,
    failures: 0,
    closedAtMs: null,
    trips: 0,
  };
}

/** The state as it is at `nowMs`: an open one whose time is over is half open. Changes nothing. */
export function viewAt(state: BreakerState, nowMs: number): BreakerState {
  if (state.kind !== "open" || nowMs < state.untilMs) return state;
  return { kind: "halfOpen", v: 1, leased: 0, successes: 0, trips: state.trips };
}

/** Requests that half open lets through at once: 1, 2, 4… with each success. */
function leasesMax(successes: number): number {
  return 2 ** Math.min(successes, 10);
}

/** Whether one more request may pass now. Reads only. */
export function isAdmitting(state: BreakerState, nowMs: number): boolean {
  const view = viewAt(state, nowMs);
  if (view.kind === "closed") return true;
  return view.kind === "halfOpen" && view.leased < leasesMax(view.successes);
}

/** Health weight 0..1: 0 while open, small while half open, rising for a while after closing. */
export function breakerWeight(state: BreakerState, nowMs: number, policy: BreakerPolicy): number {
  const view = viewAt(state, nowMs);
  if (view.kind === "open") return 0;
  if (view.kind === "halfOpen") return policy.slowStartWeight;
  if (view.closedAtMs === null || policy.slowStartMs === 0) return 1;
  const share = (nowMs - view.closedAtMs) / policy.slowStartMs;
  return Math.min(1, Math.max(policy.slowStartWeight, share));
}

function open(
  trips: number,
  nowMs: number,
  random: () => number,
  policy: BreakerPolicy,
): BreakerState {
  const baseMs = Math.min(policy.openMsMax, policy.openMs * 2 ** Math.min(trips, 20));
  const jitter = 1 + policy.jitterRatio * (2 * random() - 1);
  return { kind: "open", v: 1, untilMs: nowMs + Math.round(baseMs * jitter), trips: trips + 1 };
}

/** The next state. `random` is uniform on [0, 1) and used only for the jitter of an opening. */
export function stepBreaker(
  state: BreakerState,
  event: BreakerEvent,
  nowMs: number,
  random: () => number,
  policy: BreakerPolicy,
): BreakerStep {
  const view = viewAt(state, nowMs);
  if (view.kind === "open") return { state: view, reason: event === "lease" ? "refused" : "late" };
  if (view.kind === "halfOpen") {
    if (event === "lease") {
      if (view.leased >= leasesMax(view.successes)) return { state: view, reason: "refused" };
      return { state: { ...view, leased: view.leased + 1 }, reason: "probing" };
    }
    const leased = Math.max(0, view.leased - 1);
    if (event === "neutral") return { state: { ...view, leased }, reason: "counted" };
    if (event === "failure")
      return { state: open(view.trips, nowMs, random, policy), reason: "reopened" };
    const successes = view.successes + 1;
    if (successes < policy.closingSuccesses)
      return { state: { ...view, leased, successes }, reason: "probing" };
    const closed = { ...closedBreaker(nowMs), closedAtMs: nowMs, trips: view.trips };
    return { state: closed as BreakerState, reason: "closed" };
  }
  if (event === "lease" || event === "neutral") return { state: view, reason: "counted" };
  const isNewWindow = nowMs - view.windowStartMs >= policy.windowMs;
  const requests = (isNewWindow ? 0 : view.requests) + 1;
  const isFailure = event === "failure";
  const failures = (isNewWindow ? 0 : view.failures) + (isFailure ? 1 : 0);
  const failuresInRow = isFailure ? view.failuresInRow + 1 : 0;
  const isOverRatio =
    requests >= policy.windowRequestsMin && failures / requests >= policy.failureRatioMax;
  if (isFailure && (failuresInRow >= policy.consecutiveFailuresMax || isOverRatio)) {
    return { state: open(view.trips, nowMs, random, policy), reason: "tripped" };
  }
  const isSettled = view.closedAtMs !== null && nowMs - view.closedAtMs >= policy.openMsMax;
  return {
    state: {
      ...view,
      failuresInRow,
      windowStartMs: isNewWindow ? nowMs : view.windowStartMs,
      requests,
      failures,
      // After a long quiet time the next opening is a first one again.
      trips: isSettled ? 0 : view.trips,
    },
    reason: "counted",
  };
}
