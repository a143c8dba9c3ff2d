/** Retries that a cell may make: a share of its first attempts, so that retries never multiply a load. */
export interface RetryBudget {
  readonly tokens: number;
  /** Until when its time was counted, ms. */
  readonly countedToMs: number;
}

/** Tokens that one first attempt adds: a tenth of all dispatches at most are retries. SRE book, "Addressing cascading failures". */
const share = 0.1;
/**
 * Tokens that a second adds, so that a cell with few requests, which would save up next to nothing, may still retry one every
 * five seconds. Finagle's RetryBudget has such a floor beside its share (10 a second by default); a cell has few shards.
 */
const tokensPerSecond = 0.2;
/** Most that is saved up: a burst of failures after a calm hour finds no more (our choice). */
const tokensMax = 20;

/** A full budget: a cell that has just begun may try again. */
export function newRetryBudget(nowMs: number): RetryBudget {
  return { tokens: tokensMax, countedToMs: nowMs };
}

/** The budget as of `nowMs`. A clock that went back adds nothing. */
export function withTime(budget: RetryBudget, nowMs: number): RetryBudget {
  const seconds = Math.max(0, nowMs - budget.countedToMs) / 1_000;
  return {
    tokens: Math.min(tokensMax, budget.tokens + seconds * tokensPerSecond),
    countedToMs: nowMs,
  };
}

/** The budget once a turn was dispatched for the first time. */
export function withFirstAttempt(budget: RetryBudget): RetryBudget {
  return { ...budget, tokens: Math.min(tokensMax, budget.tokens + share) };
}

/** Whether one retry may be made. */
export function hasRetry(budget: RetryBudget): boolean {
  // Ten tenths are less than one in binary.
  return budget.tokens >= 1 - 1e-9;
}

/** The budget once a retry was made. */
export function withRetry(budget: RetryBudget): RetryBudget {
  return { ...budget, tokens: Math.max(0, budget.tokens - 1) };
}
