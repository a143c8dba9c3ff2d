/** Numbers of the demand forecast. */
export interface ForecastPolicy {
  /** Steps of one season: a day. */
  readonly seasonSteps: number;
  /** Steps ahead for which errors are kept and forecasts are made, ascending. */
  readonly horizonSteps: readonly number[];
  /** Level, slope and damping of the trend. */
  readonly trend: { readonly alpha: number; readonly beta: number; readonly phi: number };
  /** Level, slope and season of Holt-Winters. */
  readonly holtWinters: { readonly alpha: number; readonly beta: number; readonly gamma: number };
  /** Bounds of what a season ago may say of the way from now on, as a factor. */
  readonly seasonalRatioMin: number;
  readonly seasonalRatioMax: number;
  /** Bounds of Holt-Winters, in persistence. */
  readonly holtWintersMin: number;
  readonly holtWintersMax: number;
  /** Weight of the newest relative error in its average, 0..1. */
  readonly errorAlpha: number;
  /** What keeps a weight finite: squared relative error. */
  readonly errorFloor: number;
  /** Actual / forecast pairs that a quantile is taken of. */
  readonly ratiosMax: number;
}

/**
 * Starting values for steps of 10 minutes. Members, damping, bounds and the 500 ratios are the routing rules' for forecasts;
 * the smoothing of Holt-Winters and of the errors is our choice, taken on the first half of ServeGen's `m_large` rates and
 * reported on the second (docs/capacity.md).
 */
export const defaultForecastPolicy: ForecastPolicy = {
  seasonSteps: 144,
  horizonSteps: [1, 2, 6],
  trend: { alpha: 0.7, beta: 0.2, phi: 0.8 },
  holtWinters: { alpha: 0.3, beta: 0.01, gamma: 0.2 },
  seasonalRatioMin: 0.25,
  seasonalRatioMax: 4,
  holtWintersMin: 0.5,
  holtWintersMax: 2,
  errorAlpha: 0.05,
  errorFloor: 1e-4,
  ratiosMax: 500,
};
