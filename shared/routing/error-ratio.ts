import { errorRatioMax, errorRatioMin } from "./predict.ts";

/** Decay of what was seen, seconds (our choice): a burst is forgotten after three of these. */
const decaySeconds = 10;
/**
 * How much of an observation is taken up. An average that takes up the worst at once (peak EWMA) drives conversations from a
 * warm shard after one late answer; this one still knows a slow shard after a few (docs/simulation.md).
 */
const share = 0.3;

/** The time to first token that a failure before it counts as, seconds: the longest that a turn waits (docs/architecture.md). */
export const failureSeconds = 45;

/** Geometric moving average of observed / predicted time to first token of one shard. */
export interface ErrorRatio {
  readonly ratio: number;
  readonly atMs: number;
}

/** A shard that nothing is known of: predictions are taken as they are. */
export const neutralErrorRatio: ErrorRatio = { ratio: 1, atMs: 0 };

/**
 * The ratio as it counts at `nowMs`: an old one fades to 1. Otherwise a shard that was slow once and is avoided since would
 * never be measured again.
 */
export function errorRatioAt({ atMs, ratio }: ErrorRatio, nowMs: number): number {
  return 1 + (ratio - 1) * Math.exp(-Math.max(0, nowMs - atMs) / 1_000 / decaySeconds);
}

/**
 * The ratio after one more answer: a geometric average, so that twice as late and twice as early weigh the same, within
 * [0.5, 8]. A failure enters as its timeout, otherwise a shard that fails fast would look quick and draw all traffic.
 * Observations that are no number, or a prediction of 0, change nothing.
 */
export function observeTtft(
  state: ErrorRatio,
  observedSeconds: number,
  predictedSeconds: number,
  nowMs: number,
): ErrorRatio {
  const seen = observedSeconds / predictedSeconds;
  if (!Number.isFinite(seen) || seen < 0) return state;
  const bounded = Math.min(errorRatioMax, Math.max(errorRatioMin, seen));
  const known = errorRatioAt(state, nowMs);
  return { ratio: known * (bounded / known) ** share, atMs: nowMs };
}
