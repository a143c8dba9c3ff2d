/** Observed over predicted times to first token, the last hundred. Plain data. */
export interface RatioWindow {
  readonly ratios: readonly number[];
  readonly next: number;
  /** The same in order: each prompt reads a quantile of them. */
  readonly sorted: readonly number[];
}

const ratiosMax = 100;
/** Fewer say nothing of a 95th percentile. */
const ratiosMin = 20;
const quantile = 0.95;

/** Nothing was observed. */
export const emptyRatios: RatioWindow = { ratios: [], next: 0, sorted: [] };

/** The window with another observation; one that is no ratio changes nothing. */
export function withRatio(window: RatioWindow, ratio: number): RatioWindow {
  if (!Number.isFinite(ratio) || ratio < 0) return window;
  const { next, ratios } = window;
  const isFull = ratios.length >= ratiosMax;
  const sorted = [...window.sorted];
  if (isFull) sorted.splice(placeOf(sorted, ratios[next] ?? 0), 1);
  sorted.splice(placeOf(sorted, ratio), 0, ratio);
  const kept = isFull ? ratios.with(next, ratio) : [...ratios, ratio];
  return { ratios: kept, next: (next + 1) % ratiosMax, sorted };
}

/** Where `ratio` stands, or would stand, in ascending numbers. */
function placeOf(sorted: readonly number[], ratio: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < ratio) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The 95th percentile; null while fewer than 20 were observed. */
export function ratioP95(window: RatioWindow): number | null {
  const { sorted } = window;
  if (sorted.length < ratiosMin) return null;
  return sorted[Math.min(sorted.length - 1, Math.ceil(quantile * sorted.length) - 1)] ?? null;
}
