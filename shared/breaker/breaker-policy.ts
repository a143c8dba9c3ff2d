/** Numbers of the breaker in front of a shard. */
export interface BreakerPolicy {
  /** Failures in a row that open it. */
  readonly consecutiveFailuresMax: number;
  /** Share of failures, 0..1, that opens it once `windowRequestsMin` requests ended in the last `windowMs`. */
  readonly failureRatioMax: number;
  readonly windowRequestsMin: number;
  readonly windowMs: number;
  /** How long it stays open the first time, ms; doubled with each opening in a row up to `openMsMax`, then ± `jitterRatio`. */
  readonly openMs: number;
  readonly openMsMax: number;
  readonly jitterRatio: number;
  /** Successful probes that close it. */
  readonly closingSuccesses: number;
  /** After this time without news a probe counts as lost and its place is free again, ms. */
  readonly probeMsMax: number;
  /** How long the weight rises from `slowStartWeight` to 1 after closing, ms; 0 for at once. */
  readonly slowStartMs: number;
  readonly slowStartWeight: number;
}

/**
 * Starting values, to be tuned by simulation: 5 failures in a row and the growing time open are Envoy's outlier detection
 * (documentation, "Outlier detection"); ratio, window, 5 s to 120 s ± 20 % and the 60 s of slow start are ours. A probe may
 * be a long answer: 300 s is beyond what one takes.
 */
export const defaultBreakerPolicy: BreakerPolicy = {
  consecutiveFailuresMax: 5,
  failureRatioMax: 0.5,
  windowRequestsMin: 10,
  windowMs: 10_000,
  openMs: 5_000,
  openMsMax: 120_000,
  jitterRatio: 0.2,
  closingSuccesses: 5,
  probeMsMax: 300_000,
  slowStartMs: 60_000,
  slowStartWeight: 0.1,
};
