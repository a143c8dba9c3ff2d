/** What was spent, micro-dollars, in the UTC day (`2026-11-21`) and month that the sums belong to. */
export interface Spending {
  readonly day: string;
  readonly dayMicroUsd: number;
  readonly month: string;
  readonly monthMicroUsd: number;
}

/** Nothing spent. */
export const emptySpending: Spending = { day: "", dayMicroUsd: 0, month: "", monthMicroUsd: 0 };

const dayMs = 86_400_000;
/**
 * A day or month that is over does not come back when a clock goes back by less than this, ms; two machines' clocks are
 * taken to differ by 5 minutes at most. After a larger step the day was the wrong one: its sums go on under the right
 * name, so that a clock's jump into another year resets no budget and blocks none for that long.
 */
const clockErrorMsMax = 3_600_000;

/** UTC calendar day of a time, `2026-11-21`. */
export function utcDay(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 10);
}

/** The period that sums of `known` belong to now; ISO dates order as texts. */
function period(known: string, now: string, latest: string): string {
  return known > now && known <= latest ? known : now;
}

/** The sums as they are at `nowMs`: those of a day or month that is over are zero. Changes nothing. */
export function viewSpending(spending: Spending, nowMs: number): Spending {
  const today = utcDay(nowMs);
  const latest = utcDay(nowMs + clockErrorMsMax);
  const day = period(spending.day, today, latest);
  const month = period(spending.month, today.slice(0, 7), latest.slice(0, 7));
  return {
    day,
    dayMicroUsd: spending.day < day ? 0 : spending.dayMicroUsd,
    month,
    monthMicroUsd: spending.month < month ? 0 : spending.monthMicroUsd,
  };
}

/** Adds to viewed sums. */
export function spend(spending: Spending, microUsd: number): Spending {
  return {
    ...spending,
    dayMicroUsd: spending.dayMicroUsd + microUsd,
    monthMicroUsd: spending.monthMicroUsd + microUsd,
  };
}

/** Length and rest of the UTC day and month that `nowMs` lies in, ms. */
export function periodsAt(
  nowMs: number,
): Record<"day" | "month", { lengthMs: number; leftMs: number }> {
  const now = new Date(nowMs);
  const begin = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1);
  const end = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1);
  return {
    day: { lengthMs: dayMs, leftMs: dayMs - (nowMs % dayMs) },
    month: { lengthMs: end - begin, leftMs: end - nowMs },
  };
}
