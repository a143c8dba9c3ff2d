/** Observed over predicted times to first token, the last hundred. Plain data. */
export interface RatioWindow {
  readonly ratios: readonly number[];
  readonly next: number;
}

const ratiosMax = 100;
/** Fewer say nothing of a 95th percentile. */
const ratiosMin = 20;
const quantile = 0.95;

/** Nothing was observed. */
export const emptyRatios: RatioWindow = { ratios: [], next: 0 };

/** The window with another observation; one that is no ratio changes nothing. */
export function withRatio(window: RatioWindow, ratio: number): RatioWindow {
  if (!Number.isFinite(ratio) || ratio < 0) return window;
  const { next, ratios } = window;
  const kept = ratios.length < ratiosMax ? [...ratios, ratio] : ratios.with(next, ratio);
  return { ratios: kept, next: (next + 1) % ratiosMax };
}

/** The 95th percentile; null while fewer than 20 were observed. */
export function ratioP95(window: RatioWindow): number | null {
  const { ratios } = window;
  if (ratios.length < ratiosMin) return null;
  const at = Math.min(ratios.length - 1, Math.ceil(quantile * ratios.length) - 1);
  return ratios.toSorted((one, other) => one - other)[at] ?? null;
}
