import { withStart } from "../warming/cold-start-time.ts";

/** In place of what a platform was told: nobody knows, so that it has to be told again. */
export const unknownDesired = -1;

/** What was seen of a pool on its platform. */
export interface PoolObservation {
  /** Replicas that the platform was told to have, or `unknownDesired`. */
  readonly desired: number;
  /** Replicas that answer. */
  readonly ready: number;
}

/** So many replicas that were ordered at once. */
export interface PoolAsk {
  readonly atMs: number;
  readonly replicas: number;
}

/** What is remembered of a pool between two plans. */
export interface PoolState {
  /** What was ordered last; null before the first order. */
  readonly target: number | null;
  /** When more was ordered last. */
  readonly askedAtMs: number | null;
  /** Until when the pool is taken for one that gives no more than it has. */
  readonly shortUntilMs: number | null;
  /** Replicas that answered when it was last seen; null: it was never seen. */
  readonly readySeen: number | null;
  /** Since when fewer answer than before, without an order; null: they do. */
  readonly lostSinceMs: number | null;
  /** Ordered replicas that have not come, late ones too, the oldest first. */
  readonly asks: readonly PoolAsk[];
  /** How long the last replicas that came took from being ordered to their answer, ms. */
  readonly startsMs: readonly number[];
}

/** Nothing ordered, nothing seen. */
export const newPoolState: PoolState = {
  target: null,
  askedAtMs: null,
  shortUntilMs: null,
  readySeen: null,
  lostSinceMs: null,
  asks: [],
  startsMs: [],
};

/** What a pool can be counted on for. */
export interface PoolSupply {
  /** Replicas that answer, and those that were ordered and may still be starting. */
  readonly there: number;
  readonly ready: number;
  /** It gave less than was ordered, or lost what it had: others are asked first. */
  readonly isShort: boolean;
  readonly state: PoolState;
}

/** Numbers of a pool's supply, ms. */
export interface SupplyPolicy {
  /** How long ordered replicas may be on their way before they do not count. */
  readonly startMs: number;
  /** How long a pool that was short is asked last. */
  readonly shortMs: number;
}

/** After a refused quota or a reclaim the same pool is asked again ten minutes later (our choice: spot is down for half an hour). */
export const shortMsDefault = 600_000;

/** Replicas that come an hour after they were asked for were not starting, but not to be had. */
const startMsMax = 3_600_000;
/** Orders of one pool that can be on their way. */
const asksMax = 32;

/** Fewer that answer are believed to be gone after this: one missed probe is no reclaim (our choice). */
const lossMsMin = 30_000;

/**
 * What a pool can be counted on for now. What it was ordered counts while it may be starting; what does not come in time, and
 * what goes without an order, makes it short. A platform's word is not taken for what it has: only replicas that answer count in
 * the end. Null when the pool cannot be seen and never was.
 */
export function viewSupply(
  state: PoolState,
  seen: PoolObservation | null,
  nowMs: number,
  policy: SupplyPolicy,
): PoolSupply | null {
  const { askedAtMs, readySeen } = state;
  const wasShort = state.shortUntilMs !== null && nowMs < state.shortUntilMs;
  if (seen === null || !Number.isFinite(seen.ready)) {
    return readySeen === null
      ? null
      : { there: readySeen, ready: readySeen, isShort: wasShort, state };
  }
  const ready = Math.max(0, Math.floor(seen.ready));
  const target = state.target ?? Math.max(ready, readySeen ?? 0);
  const isStarting = askedAtMs !== null && nowMs - askedAtMs < policy.startMs;
  const isLate = askedAtMs !== null && !isStarting && ready < target;
  const isLess = readySeen !== null && ready < Math.min(readySeen, target);
  const lostSinceMs = isLess ? (state.lostSinceMs ?? nowMs) : null;
  const isLost = lostSinceMs !== null && nowMs - lostSinceMs >= lossMsMin;
  const isGiven = isLate || isLost;
  return {
    there: isLost
      ? ready
      : thereOf(seen, { ready, target, isStarting, kept: isLess ? readySeen : ready }),
    ready,
    isShort: isGiven || wasShort,
    state: {
      ...state,
      askedAtMs: isGiven || ready >= target ? null : askedAtMs,
      shortUntilMs: isGiven ? nowMs + policy.shortMs : state.shortUntilMs,
      // While it is not sure that they are gone the larger number is what more will be missing from.
      readySeen: isLess && !isLost ? readySeen : ready,
      lostSinceMs: isLost ? null : lostSinceMs,
      ...arrivals(state, ready - (readySeen ?? ready), nowMs),
    },
  };
}

/** What is known of starts after so many more have come: the oldest order is what comes first. */
function arrivals(
  { asks, startsMs }: PoolState,
  count: number,
  nowMs: number,
): Pick<PoolState, "asks" | "startsMs"> {
  let left = count;
  let starts = startsMs;
  const open: PoolAsk[] = [];
  for (const { atMs, replicas } of asks) {
    if (nowMs - atMs > startMsMax) continue;
    const came = Math.min(replicas, Math.max(0, left));
    left -= came;
    for (let one = 0; one < came; one += 1) starts = withStart(starts, nowMs - atMs);
    if (came < replicas) open.push({ atMs, replicas: replicas - came });
  }
  return { asks: open, startsMs: starts };
}

/** The orders of replicas that have not come, when so many are missing: more are asked for now, fewer are the last ones not. */
function askedFor(asks: readonly PoolAsk[], missing: number, nowMs: number): readonly PoolAsk[] {
  let left = Math.max(0, missing);
  const open: PoolAsk[] = [];
  for (const { atMs, replicas } of asks) {
    const count = Math.min(replicas, left);
    left -= count;
    if (count > 0) open.push({ atMs, replicas: count });
  }
  return left > 0 ? [...open, { atMs: nowMs, replicas: left }].slice(-asksMax) : open;
}

function thereOf(
  { desired }: PoolObservation,
  one: {
    readonly ready: number;
    readonly target: number;
    readonly isStarting: boolean;
    readonly kept: number;
  },
): number {
  const { isStarting, kept, ready, target } = one;
  if (isStarting) return Math.max(kept, target);
  // What the platform was told to end, and what it said that it would, is as good as gone.
  if (ready > target && desired <= target) return target;
  return kept;
}

/** The pool after an order; more than was there may take its time. */
export function noteOrder(
  state: PoolState,
  { target, there }: { readonly target: number; readonly there: number },
  nowMs: number,
): PoolState {
  const asksMore = target > there && (target !== state.target || state.askedAtMs === null);
  return {
    ...state,
    target,
    askedAtMs: asksMore ? nowMs : state.askedAtMs,
    // What is late and asked for once more started when it was asked for first.
    asks: askedFor(state.asks, target - (state.readySeen ?? there), nowMs),
  };
}

/** The pool after its platform said that there is no more to have. */
export function noteShortage(
  state: PoolState,
  nowMs: number,
  { shortMs }: Pick<SupplyPolicy, "shortMs">,
): PoolState {
  return {
    ...state,
    target: state.readySeen,
    askedAtMs: null,
    shortUntilMs: nowMs + shortMs,
    asks: [],
  };
}
