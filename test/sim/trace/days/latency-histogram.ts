/** Amounts by seconds, in buckets of 4 %, from 1 ms to an hour. */
export interface LatencyHistogram {
  add(seconds: number, amount: number): void;
  /** The bucket's upper border below which the share `quantile` lies; 0 without amounts. */
  quantile(quantile: number): number;
  total(): number;
  /** Adds all of another one. */
  merge(other: LatencyHistogram): void;
  readonly buckets: Float64Array;
}

const least = 1e-3;
const factor = 1.04;
const bucketCount = Math.ceil(Math.log(3_600 / least) / Math.log(factor)) + 1;

/** Makes an empty histogram. */
export function createLatencyHistogram(): LatencyHistogram {
  const buckets = new Float64Array(bucketCount);
  const total = (): number => buckets.reduce((sum, amount) => sum + amount, 0);
  return {
    buckets,
    total,
    add(seconds, amount) {
      const at = Math.ceil(Math.log(Math.max(least, seconds) / least) / Math.log(factor) - 1e-9);
      buckets[Math.min(bucketCount - 1, at)] =
        (buckets[Math.min(bucketCount - 1, at)] ?? 0) + amount;
    },
    quantile(quantile) {
      const wanted = quantile * total();
      if (!(wanted > 0)) return 0;
      let seen = 0;
      const at = buckets.findIndex((amount) => (seen += amount) >= wanted * (1 - 1e-12));
      return least * factor ** Math.max(0, at);
    },
    merge(other) {
      for (const [at, amount] of other.buckets.entries()) buckets[at] = (buckets[at] ?? 0) + amount;
    },
  };
}
