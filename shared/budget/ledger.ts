import type { LimitState, ReserveInput, ReserveResult } from "./rpc.ts";

/** Length of the rate windows, seconds. */
export const rateWindowSeconds = 60;
/** Open reservations of one tenant; past it nothing more is admitted. */
export const reservationsMax = 50_000;

/** What was admitted in one second. */
interface SecondCount {
  readonly second: number;
  readonly requests: number;
  readonly tokens: number;
}

/** What a tenant has used and reserved. Plain data, versioned; money in integer micro-dollars. */
export interface LedgerState {
  readonly v: 1;
  /** The last 60 s and the running one, oldest first. */
  readonly seconds: readonly SecondCount[];
  /** UTC day (`2026-11-21`) and month that the sums belong to. */
  readonly day: string;
  readonly dayMicroUsd: number;
  readonly month: string;
  readonly monthMicroUsd: number;
}

/** A reservation that is not settled yet. */
export interface Reservation {
  readonly id: string;
  readonly second: number;
  readonly tokens: number;
  readonly costMicroUsd: number;
  readonly expiresAtMs: number;
}

/** A ledger with nothing in it. */
export const emptyLedger: LedgerState = {
  v: 1,
  seconds: [],
  day: "",
  dayMicroUsd: 0,
  month: "",
  monthMicroUsd: 0,
};

/** UTC calendar day of a time, `2026-11-21`. */
export function utcDay(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 10);
}

/** Seconds until the next UTC day begins. */
function secondsToNextDay(nowMs: number): number {
  return Math.ceil((86_400_000 - (nowMs % 86_400_000)) / 1000);
}

/** The state as it is at `nowMs`: old seconds forgotten, sums of another day or month at zero. Changes nothing. */
export function viewAt(state: LedgerState, nowMs: number): LedgerState {
  const day = utcDay(nowMs);
  const month = day.slice(0, 7);
  const oldest = Math.floor(nowMs / 1000) - rateWindowSeconds;
  return {
    ...state,
    seconds: state.seconds.filter((count) => count.second > oldest),
    day,
    dayMicroUsd: state.day === day ? state.dayMicroUsd : 0,
    month,
    monthMicroUsd: state.month === month ? state.monthMicroUsd : 0,
  };
}

function addTo(state: LedgerState, second: number, requests: number, tokens: number): LedgerState {
  const found = state.seconds.find((count) => count.second === second);
  const seconds =
    found === undefined
      ? [...state.seconds, { second, requests, tokens }].toSorted((a, b) => a.second - b.second)
      : state.seconds.map((count) =>
          count.second === second
            ? {
                second,
                requests: count.requests + requests,
                tokens: Math.max(0, count.tokens + tokens),
              }
            : count,
        );
  return { ...state, seconds };
}

/** Seconds until enough of the window has passed that `needed` more fit under `quota`; the whole window when never. */
function secondsUntilFits(
  seconds: readonly SecondCount[],
  amountOf: (count: SecondCount) => number,
  needed: number,
  quota: number,
  nowMs: number,
): number {
  let used = seconds.reduce((sum, count) => sum + amountOf(count), 0);
  for (const count of seconds) {
    if (used + needed <= quota) break;
    used -= amountOf(count);
    if (used + needed <= quota) {
      return Math.max(1, count.second + rateWindowSeconds - Math.floor(nowMs / 1000));
    }
  }
  return used + needed <= quota ? 1 : rateWindowSeconds;
}

/**
 * Admits or refuses a request. Rates are sums over the last 60 seconds in whole-second counts, so that no 60 s window
 * ever holds more than the quota (zero overshoot); budgets count what is spent plus what is reserved.
 */
export function reserve(
  state: LedgerState,
  open: readonly Reservation[],
  input: ReserveInput,
  nowMs: number,
): {
  readonly state: LedgerState;
  readonly reservation: Reservation | null;
  readonly result: ReserveResult;
} {
  const current = viewAt(state, nowMs);
  const { limits } = input;
  const reservedMicroUsd = open.reduce((sum, reservation) => sum + reservation.costMicroUsd, 0);
  const requests = current.seconds.reduce((sum, count) => sum + count.requests, 0);
  const tokens = current.seconds.reduce((sum, count) => sum + count.tokens, 0);
  const states: LimitState[] = [];
  const refusals: ReserveResult[] = [];

  const check = (
    name: LimitState["name"],
    quota: number | undefined,
    window: { readonly seconds: number; readonly resetSeconds: number },
    used: number,
    needed: number,
    isQuota: boolean,
  ): void => {
    if (quota === undefined) return;
    const fits = used + needed <= quota;
    states.push({
      name,
      quota,
      windowSeconds: window.seconds,
      remaining: Math.max(0, quota - used - (fits ? needed : 0)),
      resetSeconds: window.resetSeconds,
    });
    if (fits) return;
    const waitHelps = !isQuota && needed <= quota;
    refusals.push({
      kind: "refused",
      states,
      error: waitHelps
        ? {
            code: "rate_limited",
            message: `The tenant's limit "${name}" is reached. Wait, then send again.`,
            retryAfterMs: window.resetSeconds * 1000,
          }
        : {
            code: "insufficient_quota",
            message: `The request does not fit the tenant's limit "${name}". Waiting a minute does not help.`,
          },
    });
  };

  const rate = (
    amountOf: (count: SecondCount) => number,
    needed: number,
    quota: number | undefined,
  ) => ({
    seconds: rateWindowSeconds,
    resetSeconds: secondsUntilFits(current.seconds, amountOf, needed, quota ?? 0, nowMs),
  });
  const day = { seconds: 86_400, resetSeconds: secondsToNextDay(nowMs) };
  const month = { seconds: 30 * 86_400, resetSeconds: secondsToNextDay(nowMs) };
  check(
    "requests",
    limits.requestsPerMinute,
    rate((count) => count.requests, 1, limits.requestsPerMinute),
    requests,
    1,
    false,
  );
  check(
    "tokens",
    limits.tokensPerMinute,
    rate((count) => count.tokens, input.tokens, limits.tokensPerMinute),
    tokens,
    input.tokens,
    false,
  );
  check(
    "concurrent",
    limits.concurrentRequestsMax ?? reservationsMax,
    { seconds: 1, resetSeconds: 1 },
    open.length,
    1,
    false,
  );
  check(
    "budget-day",
    limits.budgetMicroUsdPerDay,
    day,
    current.dayMicroUsd + reservedMicroUsd,
    input.costMicroUsd,
    true,
  );
  check(
    "budget-month",
    limits.budgetMicroUsdPerMonth,
    month,
    current.monthMicroUsd + reservedMicroUsd,
    input.costMicroUsd,
    true,
  );

  const refusal = refusals[0];
  if (refusal !== undefined) return { state: current, reservation: null, result: refusal };
  const second = Math.floor(nowMs / 1000);
  const { reservationId, costMicroUsd, expiresAtMs } = input;
  return {
    state: addTo(current, second, 1, input.tokens),
    reservation: { id: reservationId, second, tokens: input.tokens, costMicroUsd, expiresAtMs },
    result: { kind: "reserved", states },
  };
}

/** Replaces a reservation by what was used. The tokens count in the second that admitted them. */
export function settle(
  state: LedgerState,
  reservation: Reservation,
  used: { readonly tokens: number; readonly costMicroUsd: number },
  nowMs: number,
): LedgerState {
  const current = viewAt(state, nowMs);
  const isInWindow = current.seconds.some((count) => count.second === reservation.second);
  const adjusted = isInWindow
    ? addTo(current, reservation.second, 0, used.tokens - reservation.tokens)
    : current;
  return {
    ...adjusted,
    dayMicroUsd: adjusted.dayMicroUsd + used.costMicroUsd,
    monthMicroUsd: adjusted.monthMicroUsd + used.costMicroUsd,
  };
}
