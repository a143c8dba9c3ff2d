import type { HealthPolicy } from "./health-policy.ts";

/** Batches are compared like with like: powers of two. */
function bucketOf(batch: number): number {
  return Math.min(10, Math.floor(Math.log2(Math.max(1, batch))));
}

interface SpeedWindow {
  readonly startMs: number;
  /** Time per token over the usual one, of each answer. */
  readonly ratios: readonly number[];
}

/** How fast a shard is, in its own usual speed. */
export interface SpeedWatch {
  /** Usual seconds per token by batch bucket: a median that moves by a hundredth a time (frugal streaming, Ma et al. 2013). */
  readonly usual: ReadonlyMap<number, number>;
  /** The last windows, oldest first. */
  readonly windows: readonly SpeedWindow[];
}

/** Answers that a window keeps; more of them say nothing new. */
const ratiosMax = 64;
/** Windows in a row without enough answers are forgotten after this many lengths. */
const staleWindows = 6;
const usualStep = 0.01;

/** A shard that has not answered yet. */
export const newSpeedWatch: SpeedWatch = { usual: new Map(), windows: [] };

/** One whole answer: its seconds per token, and the sequences that ran beside it. Nonsense changes nothing. */
export function observeSpeed(
  watch: SpeedWatch,
  secondsPerToken: number,
  batch: number,
  nowMs: number,
  policy: HealthPolicy,
): SpeedWatch {
  if (!(secondsPerToken > 0) || !Number.isFinite(secondsPerToken)) return watch;
  const bucket = bucketOf(batch);
  const before = watch.usual.get(bucket);
  const ratio = before === undefined ? 1 : secondsPerToken / before;
  const usual = new Map(watch.usual);
  // What is far too slow moves the usual speed by a tenth of that: an illness of an hour is not to become the rule.
  const stepUp = ratio > policy.speedSlow ? usualStep / 10 : usualStep;
  usual.set(
    bucket,
    before === undefined ? secondsPerToken : before * (ratio > 1 ? 1 + stepUp : 1 - usualStep),
  );
  const startMs = Math.floor(nowMs / policy.speedWindowMs) * policy.speedWindowMs;
  const last = watch.windows.at(-1);
  const kept = watch.windows.filter(
    (window) => window.startMs > startMs - staleWindows * policy.speedWindowMs,
  );
  const windows =
    last !== undefined && last.startMs >= startMs
      ? [
          ...kept.slice(0, -1),
          { startMs: last.startMs, ratios: [...last.ratios, ratio].slice(-ratiosMax) },
        ]
      : [...kept, { startMs, ratios: [ratio] }];
  return { usual, windows: windows.slice(-policy.speedWindows) };
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 1;
}

/**
 * How slow the shard is, 1 is as usual: the least of its last windows' medians, so that one bad window is none. 1 while too few
 * answers say anything, or the last of them is old.
 */
export function slownessOf({ windows }: SpeedWatch, nowMs: number, policy: HealthPolicy): number {
  const recent = windows.filter(
    ({ startMs }) => startMs > nowMs - staleWindows * policy.speedWindowMs,
  );
  const answers = recent.reduce((sum, { ratios }) => sum + ratios.length, 0);
  if (recent.length < policy.speedWindows || answers < policy.speedAnswersMin) return 1;
  return Math.min(...recent.map(({ ratios }) => medianOf(ratios)));
}

/**
 * A shard's weight from its slowness and that of the others of its model: what all of them have is load, not illness. 0: to be
 * ejected.
 */
export function speedWeight(
  slowness: number,
  others: readonly number[],
  { speedEjected, speedSlow }: HealthPolicy,
): number {
  const common = others.length === 0 ? 1 : Math.max(1, medianOf(others));
  const own = slowness / common;
  if (own > speedEjected) return 0;
  return own > speedSlow ? 1 / own : 1;
}
