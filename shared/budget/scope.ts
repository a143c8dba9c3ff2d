import type { Limits } from "../config/limits.ts";
import type { LimitName, LimitState } from "./rpc.ts";
import {
  admitTo,
  adjustTokens,
  emptyWindow,
  msUntilEmpty,
  msUntilFits,
  usedIn,
  viewWindow,
  windowMs,
} from "./rate-window.ts";
import type { RateWindow } from "./rate-window.ts";
import { emptySpending, periodsAt, spend, viewSpending } from "./spending.ts";
import type { Spending } from "./spending.ts";
import { msUntilHolds, takeFrom, viewBucket } from "./token-bucket.ts";
import type { BucketRate, TokenBucket } from "./token-bucket.ts";

/** What one tenant or one key has used and reserved. Plain data, versioned; money in integer micro-dollars. */
export interface ScopeState {
  readonly v: 2;
  readonly window: RateWindow;
  /** Null: full. */
  readonly bucket: TokenBucket | null;
  readonly spending: Spending;
  /** Open reservations, and what they hold of the budgets. */
  readonly openCount: number;
  readonly reservedMicroUsd: number;
}

/** A scope with nothing in it. */
export const emptyScope: ScopeState = {
  v: 2,
  window: emptyWindow,
  bucket: null,
  spending: emptySpending,
  openCount: 0,
  reservedMicroUsd: 0,
};

/** What a request will take at most. */
export interface Need {
  readonly tokens: number;
  readonly costMicroUsd: number;
}

/** Why a scope does not admit a request. `waitMs` null: waiting does not help. */
export interface Shortage {
  readonly name: LimitName;
  readonly waitMs: number | null;
}

/** How long to wait for what ends with a running request, ms: nobody knows when that is. */
const runningWaitMs = 1_000;

/** The bucket's size and rate, where the limits have one; without a burst of its own it holds one second's requests. */
export function bucketRateOf({ requestsPerSecond, requestsBurstMax }: Limits): BucketRate | null {
  if (requestsPerSecond === undefined) return null;
  return { requestsPerSecond, requestsBurstMax: requestsBurstMax ?? requestsPerSecond };
}

/** The scope as it is at `nowMs`. Changes nothing. */
export function viewScope(scope: ScopeState, limits: Limits, nowMs: number): ScopeState {
  const rate = bucketRateOf(limits);
  return {
    ...scope,
    window: viewWindow(scope.window, nowMs),
    bucket: rate === null ? scope.bucket : viewBucket(scope.bucket, rate, nowMs),
    spending: viewSpending(scope.spending, nowMs),
  };
}

/** The limits that the request does not fit. The scope must be viewed at `nowMs`. */
export function shortagesOf(
  scope: ScopeState,
  limits: Limits,
  need: Need,
  nowMs: number,
): readonly Shortage[] {
  const shortages: Shortage[] = [];
  for (const [unit, quota, needed] of [
    ["requests", limits.requestsPerMinute, 1],
    ["tokens", limits.tokensPerMinute, need.tokens],
  ] as const) {
    if (quota === undefined) continue;
    const waitMs = msUntilFits(scope.window, unit, needed, quota, nowMs);
    if (waitMs > 0) shortages.push({ name: unit, waitMs: needed > quota ? null : waitMs });
  }
  const rate = bucketRateOf(limits);
  const burstWaitMs =
    rate === null ? 0 : msUntilHolds(viewBucket(scope.bucket, rate, nowMs), 1, rate);
  if (burstWaitMs > 0) shortages.push({ name: "burst", waitMs: burstWaitMs });
  if (scope.openCount >= (limits.concurrentRequestsMax ?? Infinity)) {
    shortages.push({ name: "concurrent", waitMs: runningWaitMs });
  }
  for (const [name, quota, spent] of [
    ["budget-day", limits.budgetMicroUsdPerDay, scope.spending.dayMicroUsd],
    ["budget-month", limits.budgetMicroUsdPerMonth, scope.spending.monthMicroUsd],
  ] as const) {
    if (quota === undefined || need.costMicroUsd === 0) continue;
    const left = quota - spent;
    if (need.costMicroUsd <= left - scope.reservedMicroUsd) continue;
    // What only running requests hold may come back when they end; what is spent does not.
    shortages.push({ name, waitMs: need.costMicroUsd <= left ? runningWaitMs : null });
  }
  return shortages;
}

/** Every limit as it stands; `resetMs` is the time until it is as if nothing had been used. The scope must be viewed. */
export function limitStates(
  scope: ScopeState,
  limits: Limits,
  nowMs: number,
): readonly Omit<LimitState, "scope">[] {
  const states: Omit<LimitState, "scope">[] = [];
  const add = (state: Omit<LimitState, "scope">): void => {
    states.push({ ...state, remaining: Math.max(0, state.remaining) });
  };
  const used = usedIn(scope.window);
  const resetMs = msUntilEmpty(scope.window, nowMs);
  for (const [name, quota] of [
    ["requests", limits.requestsPerMinute],
    ["tokens", limits.tokensPerMinute],
  ] as const) {
    if (quota === undefined) continue;
    add({ name, quota, windowMs, remaining: quota - used[name], resetMs });
  }
  const rate = bucketRateOf(limits);
  if (rate !== null) {
    const bucket = viewBucket(scope.bucket, rate, nowMs);
    const { requestsBurstMax: quota, requestsPerSecond } = rate;
    add({
      name: "burst",
      quota,
      windowMs: Math.ceil((quota * 1000) / requestsPerSecond),
      remaining: Math.floor(bucket.milliRequests / 1000),
      resetMs: msUntilHolds(bucket, quota, rate),
    });
  }
  const { concurrentRequestsMax: openMax } = limits;
  if (openMax !== undefined) {
    const remaining = openMax - scope.openCount;
    add({ name: "concurrent", quota: openMax, windowMs: null, remaining, resetMs: null });
  }
  const periods = periodsAt(nowMs);
  for (const [name, quota, spent, { lengthMs, leftMs }] of [
    ["budget-day", limits.budgetMicroUsdPerDay, scope.spending.dayMicroUsd, periods.day],
    ["budget-month", limits.budgetMicroUsdPerMonth, scope.spending.monthMicroUsd, periods.month],
  ] as const) {
    if (quota === undefined) continue;
    const remaining = quota - spent - scope.reservedMicroUsd;
    add({ name, quota, windowMs: lengthMs, remaining, resetMs: leftMs });
  }
  return states;
}

/** The viewed scope with an admitted request in it. `isHeld`: a settlement will follow. */
export function admitScope(
  scope: ScopeState,
  limits: Limits,
  need: Need,
  isHeld: boolean,
  nowMs: number,
): { readonly scope: ScopeState; readonly slot: number } {
  const rate = bucketRateOf(limits);
  const amounts = { requests: 1, tokens: need.tokens };
  // Without a limit by the minute nothing is counted by it: a new one begins with an empty window.
  const isCounted = limits.requestsPerMinute !== undefined || limits.tokensPerMinute !== undefined;
  const { window, slot } = isCounted
    ? admitTo(scope.window, amounts, nowMs)
    : { window: scope.window, slot: -1 };
  return {
    scope: {
      ...scope,
      window,
      bucket: rate === null ? scope.bucket : takeFrom(viewBucket(scope.bucket, rate, nowMs), 1),
      openCount: scope.openCount + (isHeld ? 1 : 0),
      reservedMicroUsd: scope.reservedMicroUsd + (isHeld ? need.costMicroUsd : 0),
    },
    slot,
  };
}

/** Replaces what was reserved in `slot` by what was used. */
export function settleScope(
  scope: ScopeState,
  slot: number,
  reserved: Need,
  used: Need,
  nowMs: number,
): ScopeState {
  const window = viewWindow(scope.window, nowMs);
  return {
    ...scope,
    window: adjustTokens(window, slot, used.tokens - reserved.tokens),
    spending: spend(viewSpending(scope.spending, nowMs), used.costMicroUsd),
    openCount: Math.max(0, scope.openCount - 1),
    reservedMicroUsd: Math.max(0, scope.reservedMicroUsd - reserved.costMicroUsd),
  };
}
