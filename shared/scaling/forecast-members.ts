import type { ForecastPolicy } from "./forecast-policy.ts";
import { forecastHoltWinters } from "./holt-winters.ts";
import type { HoltWinters } from "./holt-winters.ts";

/** Forecasters whose errors weigh them. */
export const members = ["persistence", "trend", "season", "holtWinters"] as const;
export type Member = (typeof members)[number];

/** What the members look at. */
export interface Observed {
  /** The last values, oldest first: one season and one step at least for the season's word. */
  readonly values: readonly number[];
  /** Steps seen in all; the last value's place in its season is `count - 1` modulo the season. */
  readonly count: number;
  readonly trendLevel: number;
  readonly trendSlope: number;
  readonly holtWinters: HoltWinters | null;
}

function bounded(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

/**
 * What each member expects `steps` ahead, 0 or more; null for one that cannot say. After silence, and where a season ago was
 * silent, ratios mean nothing: the seasonal members say nothing.
 */
export function forecastMembers(
  { count, holtWinters, trendLevel, trendSlope, values }: Observed,
  steps: number,
  policy: ForecastPolicy,
): Readonly<Record<Member, number | null>> {
  const now = values.at(-1) ?? 0;
  const { phi } = policy.trend;
  // The sum of phi + phi² + … + phi^steps.
  const damping = (phi * (1 - phi ** steps)) / (1 - phi);
  const before = values.at(-1 - policy.seasonSteps);
  const then = values.at(-1 - policy.seasonSteps + steps);
  const hasSeason =
    now > 0 &&
    before !== undefined &&
    before > 0 &&
    then !== undefined &&
    steps <= policy.seasonSteps;
  const ratio = hasSeason
    ? bounded(then / before, policy.seasonalRatioMin, policy.seasonalRatioMax)
    : null;
  const position = (count - 1) % policy.seasonSteps;
  return {
    persistence: now,
    trend: Math.max(0, trendLevel + damping * trendSlope),
    season: ratio === null ? null : now * ratio,
    holtWinters:
      holtWinters === null || !(now > 0)
        ? null
        : bounded(
            forecastHoltWinters(holtWinters, position, steps),
            policy.holtWintersMin * now,
            policy.holtWintersMax * now,
          ),
  };
}
