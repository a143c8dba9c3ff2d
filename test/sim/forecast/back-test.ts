import { defaultForecastPolicy } from "#shared/scaling/forecast-policy.ts";
import { forecastDemand, newForecast, observeDemand } from "#shared/scaling/forecast.ts";

/** How one horizon was forecast over one part of a series. */
export interface HorizonScore {
  readonly steps: number;
  readonly count: number;
  /** Mean relative error of the forecast, and of "as now". */
  readonly error: number;
  readonly errorAsNow: number;
  /** Share of steps whose demand stayed within the margin. */
  readonly covered: number;
}

/** The margin that is judged. */
export const quantile = 0.99;

/**
 * Forecasts each step of `values` from the steps before it, and scores steps `from` to `to` (exclusive), target included. Steps
 * of silence are left out on both sides: as now would be a certain miss after one, and no relative error is defined for one.
 */
export function backTest(
  values: readonly number[],
  from: number,
  to: number,
): readonly HorizonScore[] {
  const policy = defaultForecastPolicy;
  const scores = policy.horizonSteps.map((steps) => ({
    steps,
    count: 0,
    error: 0,
    errorAsNow: 0,
    covered: 0,
  }));
  let state = newForecast(policy);
  values.slice(0, to).forEach((value, at) => {
    state = observeDemand(state, value, policy);
    if (at < from || !(value > 0)) return;
    const forecasts = forecastDemand(state, quantile);
    for (const [index, score] of scores.entries()) {
      const actual = at + score.steps < to ? values[at + score.steps] : undefined;
      const forecast = forecasts[index];
      if (actual === undefined || !(actual > 0) || forecast === undefined) continue;
      score.count += 1;
      score.error += Math.abs(forecast.mean - actual) / actual;
      score.errorAsNow += Math.abs(value - actual) / actual;
      if (actual <= forecast.upper) score.covered += 1;
    }
  });
  return scores.map(({ count, covered, error, errorAsNow, steps }) => ({
    steps,
    count,
    error: error / count,
    errorAsNow: errorAsNow / count,
    covered: covered / count,
  }));
}
