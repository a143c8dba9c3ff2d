import type { BreakerPolicy } from "./breaker-policy.ts";
import { bucketsMax } from "./breaker-state.ts";
import type { BreakerBucket, BreakerState } from "./breaker-state.ts";

/**
 * What happens at a shard. `dispatch`: a request goes there; the state that this step returns has the `trips` that its end
 * must carry. `failure`: a transport error, a 5xx, a stall or an invalid answer. `release`: it ended by nobody's fault (the
 * client's error or abort, a quota, a full shard) and says nothing. `alive`: the shard did what it could not do when the breaker
 * opened: it was gone and answers a health check again, or it answered a synthetic prompt.
 */
export type BreakerEvent =
  | { readonly kind: "dispatch" }
  | { readonly kind: "alive" }
  | { readonly kind: "success" | "failure" | "release"; readonly trips: number };

/** Why a step did what it did: metric label, log field and assertion. */
export type BreakerReason =
  /** Noted while closed; or a sign of life that changes nothing. */
  | "counted"
  /** Closed → open: too many failures in a row, or too large a share of them. */
  | "failuresInRow"
  | "failureRatio"
  /** A probe was let through, succeeded, or ended without news. */
  | "probing"
  /** A probe failed: open again. */
  | "probeFailed"
  /** Open → half open before its time: the shard lives. */
  | "alive"
  /** Enough probes succeeded: closed. */
  | "recovered"
  /** A dispatch that the breaker does not admit; the state is unchanged. */
  | "refused"
  /** The end of a request from before the last opening; the state is unchanged. */
  | "late";

/** The next state, and why. */
export interface BreakerStep {
  readonly state: BreakerState;
  readonly reason: BreakerReason;
}

type Closed = Extract<BreakerState, { kind: "closed" }>;
type HalfOpen = Extract<BreakerState, { kind: "halfOpen" }>;

/** The state as it is at `nowMs`: an open one whose time is over is half open, and lost probes are forgotten. Changes nothing. */
export function viewAt(state: BreakerState, nowMs: number): BreakerState {
  if (state.kind === "open" && nowMs >= state.untilMs) {
    const { trips, openingsInRow } = state;
    return {
      kind: "halfOpen",
      v: 1,
      trips,
      openingsInRow,
      leased: 0,
      successes: 0,
      leasesEndMs: nowMs,
      wasShortened: false,
    };
  }
  if (state.kind === "halfOpen" && state.leased > 0 && nowMs >= state.leasesEndMs) {
    return { ...state, leased: 0 };
  }
  return state;
}

/** Probes that may be under way at once: 1 at first, 2 after one success, 4 after three, and so on. */
function leasesMax(successes: number): number {
  return 2 ** Math.floor(Math.log2(successes + 1));
}

/** Whether one more request may go to the shard at `nowMs`. Changes nothing; the `dispatch` event takes the place. */
export function isAdmitting(state: BreakerState, nowMs: number): boolean {
  const view = viewAt(state, nowMs);
  if (view.kind === "halfOpen") return view.leased < leasesMax(view.successes);
  return view.kind === "closed";
}

/** Health weight in [0, 1]: 0 while open, the least while half open, then rising in a straight line to 1 after closing. */
export function breakerWeight(state: BreakerState, nowMs: number, policy: BreakerPolicy): number {
  const view = viewAt(state, nowMs);
  if (view.kind === "open") return 0;
  if (view.kind === "halfOpen") return policy.slowStartWeight;
  if (view.closedAtMs === null || policy.slowStartMs === 0) return 1;
  const share = Math.min(1, Math.max(0, (nowMs - view.closedAtMs) / policy.slowStartMs));
  return policy.slowStartWeight + (1 - policy.slowStartWeight) * share;
}

function open(
  from: Closed | HalfOpen,
  nowMs: number,
  random: () => number,
  policy: BreakerPolicy,
): BreakerState {
  // 2^20 × any time is over the maximum already; unbounded, the power would become infinite.
  const baseMs = Math.min(policy.openMsMax, policy.openMs * 2 ** Math.min(from.openingsInRow, 20));
  const jitter = 1 + policy.jitterRatio * (2 * random() - 1);
  return {
    kind: "open",
    v: 1,
    trips: from.trips + 1,
    openingsInRow: from.openingsInRow + 1,
    untilMs: nowMs + Math.round(baseMs * jitter),
    // A shard that flaps between life and death is believed every other time.
    shortestUntilMs: from.wasShortened ? null : nowMs + Math.round(policy.openMs * jitter),
  };
}

function countInWindow(
  buckets: readonly BreakerBucket[],
  isFailure: boolean,
  nowMs: number,
  policy: BreakerPolicy,
): readonly BreakerBucket[] {
  const bucketMs = policy.windowMs / bucketsMax;
  const startMs = Math.floor(Math.floor(nowMs / bucketMs) * bucketMs);
  const recent = buckets.filter((bucket) => bucket.startMs > startMs - policy.windowMs);
  const last = recent.at(-1);
  const failures = isFailure ? 1 : 0;
  // A clock that went back adds to the newest part instead of making one out of order.
  if (last === undefined || last.startMs < startMs) {
    return [...recent, { startMs, requests: 1, failures }].slice(-bucketsMax);
  }
  return [
    ...recent.slice(0, -1),
    { startMs: last.startMs, requests: last.requests + 1, failures: last.failures + failures },
  ];
}

function stepClosed(
  state: Closed,
  isFailure: boolean,
  nowMs: number,
  random: () => number,
  policy: BreakerPolicy,
): BreakerStep {
  const failuresInRow = isFailure ? state.failuresInRow + 1 : 0;
  const buckets = countInWindow(state.buckets, isFailure, nowMs, policy);
  if (isFailure) {
    const requests = buckets.reduce((sum, bucket) => sum + bucket.requests, 0);
    const failures = buckets.reduce((sum, bucket) => sum + bucket.failures, 0);
    const isInRow = failuresInRow >= policy.consecutiveFailuresMax;
    const isOverRatio =
      requests >= policy.windowRequestsMin && failures / requests >= policy.failureRatioMax;
    if (isInRow || isOverRatio) {
      const reason = isInRow ? "failuresInRow" : "failureRatio";
      return { state: open(state, nowMs, random, policy), reason };
    }
  }
  // Closed for as long as it could have been open: the next opening is a first one again.
  const isSettled = state.closedAtMs !== null && nowMs - state.closedAtMs >= policy.openMsMax;
  const openingsInRow = isSettled ? 0 : state.openingsInRow;
  const wasShortened = !isSettled && state.wasShortened;
  return {
    state: { ...state, failuresInRow, buckets, openingsInRow, wasShortened },
    reason: "counted",
  };
}

function stepHalfOpen(
  state: HalfOpen,
  kind: "success" | "failure" | "release",
  nowMs: number,
  random: () => number,
  policy: BreakerPolicy,
): BreakerStep {
  if (kind === "failure")
    return { state: open(state, nowMs, random, policy), reason: "probeFailed" };
  const leased = Math.max(0, state.leased - 1);
  if (kind === "release") return { state: { ...state, leased }, reason: "probing" };
  const successes = state.successes + 1;
  if (successes < policy.closingSuccesses) {
    return { state: { ...state, leased, successes }, reason: "probing" };
  }
  const { trips, openingsInRow } = state;
  return {
    state: {
      kind: "closed",
      v: 1,
      trips,
      openingsInRow,
      failuresInRow: 0,
      buckets: [],
      closedAtMs: nowMs,
      wasShortened: state.wasShortened,
    },
    reason: "recovered",
  };
}

function stepAlive(view: BreakerState, nowMs: number): BreakerStep {
  if (view.kind !== "open") return { state: view, reason: "counted" };
  const { openingsInRow, shortestUntilMs, trips } = view;
  if (shortestUntilMs === null || nowMs < shortestUntilMs)
    return { state: view, reason: "counted" };
  return {
    state: {
      kind: "halfOpen",
      v: 1,
      trips,
      openingsInRow,
      leased: 0,
      successes: 0,
      leasesEndMs: nowMs,
      wasShortened: true,
    },
    reason: "alive",
  };
}

/**
 * The next state of a shard's breaker. It opens after too many failures, in a row or as a share; open it admits nothing;
 * when its time is over it admits probes, 1, 2, 4… at once; enough successes close it and one failure opens it for twice as
 * long. A sign of life ends an opening early, after the time of a first one, and never two in a row. `random` is uniform on
 * [0, 1) and read only for the jitter of an opening. O(1).
 */
export function stepBreaker(
  state: BreakerState,
  event: BreakerEvent,
  nowMs: number,
  random: () => number,
  policy: BreakerPolicy,
): BreakerStep {
  const view = viewAt(state, nowMs);
  if (event.kind === "dispatch") {
    if (view.kind === "closed") return { state: view, reason: "counted" };
    if (view.kind === "open" || !isAdmitting(view, nowMs))
      return { state: view, reason: "refused" };
    const leasesEndMs = nowMs + policy.probeMsMax;
    return { state: { ...view, leased: view.leased + 1, leasesEndMs }, reason: "probing" };
  }
  if (event.kind === "alive") return stepAlive(view, nowMs);
  if (view.kind === "open" || event.trips !== view.trips) return { state: view, reason: "late" };
  if (view.kind === "halfOpen") return stepHalfOpen(view, event.kind, nowMs, random, policy);
  if (event.kind === "release") return { state: view, reason: "counted" };
  return stepClosed(view, event.kind === "failure", nowMs, random, policy);
}
