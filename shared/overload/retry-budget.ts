/** Retries that a cell may make: a share of its first attempts, so that retries never multiply a load. */
export interface RetryBudget {
  readonly tokens: number;
}

/** Tokens that one first attempt adds: a tenth of all dispatches at most are retries. SRE book, "Addressing cascading failures". */
const share = 0.1;
/** Most that is saved up: a burst of failures after a calm hour finds no more (our choice). */
const tokensMax = 20;

/** A full budget: a cell that has just begun may try again. */
export const fullRetryBudget: RetryBudget = { tokens: tokensMax };

/** The budget once a turn was dispatched for the first time. */
export function withFirstAttempt(budget: RetryBudget): RetryBudget {
  return { tokens: Math.min(tokensMax, budget.tokens + share) };
}

/** Whether one retry may be made. */
export function hasRetry(budget: RetryBudget): boolean {
  // Ten tenths are less than one in binary.
  return budget.tokens >= 1 - 1e-9;
}

/** The budget once a retry was made. */
export function withRetry(budget: RetryBudget): RetryBudget {
  return { tokens: Math.max(0, budget.tokens - 1) };
}
