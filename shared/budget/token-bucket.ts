/** What may still be admitted at once, in thousandths of a request, which keeps every refill a whole number. */
export interface TokenBucket {
  readonly milliRequests: number;
  readonly atMs: number;
}

/** A bucket's size and how fast it fills. */
export interface BucketRate {
  readonly requestsPerSecond: number;
  readonly requestsBurstMax: number;
}

/**
 * The bucket as it is at `nowMs`; null is a full one. In any W seconds it admits at most burst + rate × W. A clock that
 * goes back refills nothing, and time counts on from there.
 */
export function viewBucket(bucket: TokenBucket | null, rate: BucketRate, nowMs: number) {
  const full = rate.requestsBurstMax * 1000;
  if (bucket === null) return { milliRequests: full, atMs: nowMs };
  const refill = Math.max(0, nowMs - bucket.atMs) * rate.requestsPerSecond;
  return { milliRequests: Math.min(full, bucket.milliRequests + refill), atMs: nowMs };
}

/** Time until a viewed bucket holds `requests`, ms. */
export function msUntilHolds(bucket: TokenBucket, requests: number, rate: BucketRate): number {
  return Math.max(0, Math.ceil((requests * 1000 - bucket.milliRequests) / rate.requestsPerSecond));
}

/** A viewed bucket with `requests` taken out of it. */
export function takeFrom(bucket: TokenBucket, requests: number): TokenBucket {
  return { ...bucket, milliRequests: bucket.milliRequests - requests * 1000 };
}
