import type { DemandDays } from "#dev/capacity/demand-days.ts";
import { demandStepSeconds } from "#dev/capacity/demand-days.ts";

/** A draw of the gamma distribution with shape `shape` and scale 1: Marsaglia and Tsang (2000). */
function gamma(shape: number, random: () => number): number {
  if (shape < 1) return gamma(shape + 1, random) * (1 - random()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const x = radius * Math.cos(2 * Math.PI * random());
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/**
 * Requests a second at a moment: a straight line between the middles of the steps; silence stays silence.
 */
export function rateAt({ rates }: DemandDays, atMs: number): number {
  const position = atMs / (1_000 * demandStepSeconds) - 0.5;
  const before = Math.max(0, Math.floor(position));
  const own = rates[Math.min(rates.length - 1, Math.floor(position + 0.5))] ?? 0;
  const low = rates[before] ?? 0;
  const high = rates[Math.min(rates.length - 1, before + 1)] ?? low;
  if (own === 0 || low === 0 || high === 0) return own;
  return low + (high - low) * Math.min(1, Math.max(0, position - before));
}

/** Requests that come in `stepMs` from a moment on: gamma with the rate's mean and the file's dispersion, scaled. */
export function drawArrivals(
  days: DemandDays,
  scale: number,
  nowMs: number,
  stepMs: number,
  random: () => number,
): number {
  const mean = (scale * rateAt(days, nowMs + stepMs / 2) * stepMs) / 1_000;
  const dispersion = days.dispersion[Math.floor(nowMs / (1_000 * demandStepSeconds))] ?? 1;
  return mean > 0 ? dispersion * gamma(mean / dispersion, random) : 0;
}
