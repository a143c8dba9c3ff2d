import type { ForecastPolicy } from "./forecast-policy.ts";

/** Level, slope and one factor for each step of a season. */
export interface HoltWinters {
  readonly level: number;
  readonly slope: number;
  readonly factors: readonly number[];
}

/** The state after one whole season; null when the season is one of silence. */
export function beginHoltWinters(season: readonly number[]): HoltWinters | null {
  const level = season.reduce((sum, value) => sum + value, 0) / season.length;
  if (!(level > 0)) return null;
  return { level, slope: 0, factors: season.map((value) => value / level) };
}

/**
 * Multiplicative Holt-Winters after one more value at `position` of the season (Winters 1960; Hyndman and Athanasopoulos,
 * Forecasting, 8.3). Silence teaches nothing: an outage is not a season.
 */
export function stepHoltWinters(
  { factors, level, slope }: HoltWinters,
  value: number,
  position: number,
  { alpha, beta, gamma }: ForecastPolicy["holtWinters"],
): HoltWinters {
  const factor = factors[position] ?? 1;
  if (!(value > 0) || !(factor > 0)) return { factors, level, slope };
  const nextLevel = alpha * (value / factor) + (1 - alpha) * (level + slope);
  const nextSlope = beta * (nextLevel - level) + (1 - beta) * slope;
  if (!(nextLevel > 0)) return { factors, level, slope };
  const next = [...factors];
  next[position] = gamma * (value / nextLevel) + (1 - gamma) * factor;
  return { level: nextLevel, slope: nextSlope, factors: next };
}

/** What is expected `steps` after the last value, which stood at `position`. */
export function forecastHoltWinters(
  { factors, level, slope }: HoltWinters,
  position: number,
  steps: number,
): number {
  return (level + steps * slope) * (factors[(position + steps) % factors.length] ?? 1);
}
