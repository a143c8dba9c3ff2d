/** How long a replica takes from being asked for to its first answer: log-normal, with a share that takes the slow path. */
export interface ColdStart {
  readonly medianSeconds: number;
  /** Of the logarithm; of both paths. */
  readonly sigma: number;
  /** Share, 0..1, of starts without the cached image, weights or snapshot, and their median. */
  readonly slowShare: number;
  readonly slowMedianSeconds: number;
}

/** One start's duration, seconds. `random` is uniform on [0, 1) and is drawn three times. */
export function drawColdStart(
  { medianSeconds, sigma, slowMedianSeconds, slowShare }: ColdStart,
  random: () => number,
): number {
  const median = random() < slowShare ? slowMedianSeconds : medianSeconds;
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return median * Math.exp(sigma * radius * Math.cos(2 * Math.PI * random()));
}

/** The normal distribution; Abramowitz and Stegun 26.2.17, error below 1e-7. */
function normalBelow(z: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const series =
    t *
    (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * series;
  return z > 0 ? 1 - tail : tail;
}

function shareBelow(
  { medianSeconds, sigma, slowMedianSeconds, slowShare }: ColdStart,
  seconds: number,
): number {
  const below = (median: number): number =>
    sigma === 0 ? (seconds >= median ? 1 : 0) : normalBelow(Math.log(seconds / median) / sigma);
  return (1 - slowShare) * below(medianSeconds) + slowShare * below(slowMedianSeconds);
}

/** Seconds within which the share `quantile`, 0 to 1 (both exclusive), of starts is done. */
export function coldStartQuantile(cold: ColdStart, quantile: number): number {
  let low = 0;
  let high = Math.max(cold.medianSeconds, cold.slowMedianSeconds) * Math.exp(6 * cold.sigma);
  for (let step = 0; step < 60; step += 1) {
    const middle = (low + high) / 2;
    if (shareBelow(cold, middle) < quantile) low = middle;
    else high = middle;
  }
  return high;
}
