import { forecastDemand, newForecast, observeDemand } from "./forecast.ts";
import type { ForecastState } from "./forecast.ts";
import type { ForecastPolicy } from "./forecast-policy.ts";

/** Work that critical and interactive prompts bring, and all others; replica-seconds a second. */
export interface WorkRates {
  readonly protected: number;
  readonly other: number;
}

/** The forecast of one model's work, fed with any number of looks a step. */
export interface DemandState {
  readonly protected: ForecastState;
  readonly other: ForecastState;
  /** The step that is being looked at: what was seen of it so far. */
  readonly step: { readonly index: number; readonly sum: WorkRates; readonly looks: number } | null;
}

/** Steps of silence that are told of one by one after a pause; more are the same as a season without demand. */
const missedStepsMax = 144;
/** Quantiles of actual / forecast that are provided for (routing rules for scaling: 0.99, and 0.7 for what may wait). */
const protectedQuantile = 0.99;
const otherQuantile = 0.7;

/** Nothing seen. */
export function newDemand(policy: ForecastPolicy): DemandState {
  return { protected: newForecast(policy), other: newForecast(policy), step: null };
}

function observe(state: DemandState, rates: WorkRates, policy: ForecastPolicy): DemandState {
  return {
    ...state,
    protected: observeDemand(state.protected, rates.protected, policy),
    other: observeDemand(state.other, rates.other, policy),
  };
}

/** The state after one more look; a step's value is the mean of its looks, and steps nobody looked at are silence. */
export function lookAtDemand(
  state: DemandState,
  rates: WorkRates,
  { nowMs, stepMs }: { readonly nowMs: number; readonly stepMs: number },
  policy: ForecastPolicy,
): DemandState {
  const index = Math.floor(nowMs / stepMs);
  const { step } = state;
  // A clock that was set back begins the step anew.
  if (step === null || index < step.index) {
    return { ...state, step: { index, sum: rates, looks: 1 } };
  }
  if (index === step.index) {
    const sum = {
      protected: step.sum.protected + rates.protected,
      other: step.sum.other + rates.other,
    };
    return { ...state, step: { index, sum, looks: step.looks + 1 } };
  }
  const { looks, sum } = step;
  const mean = { protected: sum.protected / looks, other: sum.other / looks };
  let next = observe(state, mean, policy);
  const missed = Math.min(missedStepsMax, index - step.index - 1);
  for (let count = 0; count < missed; count += 1) {
    next = observe(next, { protected: 0, other: 0 }, policy);
  }
  return { ...next, step: { index, sum: rates, looks: 1 } };
}

/**
 * Largest margin, as a factor of the mean. A plan doubles at most before the next one can; a single leap in a short past would
 * else be provided for during days (the back-test's worst percent is 1.5).
 */
const marginMax = 2;

function upperOf(state: ForecastState, quantile: number, steps: number): number {
  const within = forecastDemand(state, quantile).filter((one) => one.steps <= steps);
  return Math.max(0, ...within.map(({ mean, upper }) => Math.min(upper, marginMax * mean)));
}

/** The most that is to be expected within `horizonMs`, with the margin of each kind; never less than what there is now. */
export function expectDemand(
  state: DemandState,
  now: WorkRates,
  { horizonMs, stepMs }: { readonly horizonMs: number; readonly stepMs: number },
): WorkRates {
  const steps = Math.max(1, Math.ceil(horizonMs / stepMs));
  return {
    protected: Math.max(now.protected, upperOf(state.protected, protectedQuantile, steps)),
    other: Math.max(now.other, upperOf(state.other, otherQuantile, steps)),
  };
}
