/** Numbers by which a cell judges its shards beside their breakers. */
export interface HealthPolicy {
  /** Windows of the speed signal: their length, how many in a row count, and the answers that they need together. */
  readonly speedWindowMs: number;
  readonly speedWindows: number;
  readonly speedAnswersMin: number;
  /** Time per token over the usual one from which a shard loses weight, and from which it is ejected. */
  readonly speedSlow: number;
  readonly speedEjected: number;
  /** Half-life of what an answer says of quality and length, ms. */
  readonly halfLifeMs: number;
  /** How much worse than the fleet's a shard's share of good answers must be, and how sure that must be (z of a normal). */
  readonly qualityGap: number;
  readonly qualityZ: number;
  /** Answers of a shard, and of the others together, before quality and lengths are compared. */
  readonly answersMin: number;
  /** Share of repeated runs of four tokens from which an answer is garbled. */
  readonly repeatedShareMax: number;
  /** Population stability index of answer lengths beyond which a shard loses half its weight. */
  readonly lengthShiftMax: number;
  /** … beyond what chance explains: deviations above its mean. */
  readonly lengthShiftZ: number;
  /** Outliers by success: deviations below the mean, shards and requests that it takes, time out for the first time, ms. */
  readonly outlierDeviations: number;
  readonly outlierShardsMin: number;
  readonly outlierRequestsMin: number;
  readonly outlierMs: number;
  readonly outlierWindowMs: number;
  /** Share of a model's capacity that soft signals may take out, and that canaries may. */
  readonly softCapacityMax: number;
  readonly quarantinedCapacityMax: number;
  /** Weight that a shard keeps whose ejection the cap forbids. */
  readonly cappedWeight: number;
}

/**
 * Starting values of the routing rules for health: the speed rule, the Beta posterior's 0.05 at 0.99 (z 2.33), repeated four-grams
 * and the stability index; 1.9 deviations, 5 shards, 100 requests and 30 s are Envoy's outlier detection (documentation, success
 * rate). Chance: five deviations, because each shard
 * is asked each second. Half-life, windows of comparison and the caps for two-shard models are our choice.
 */
export const defaultHealthPolicy: HealthPolicy = {
  speedWindowMs: 10_000,
  speedWindows: 3,
  speedAnswersMin: 20,
  speedSlow: 1.5,
  speedEjected: 3,
  halfLifeMs: 300_000,
  qualityGap: 0.05,
  qualityZ: 2.33,
  answersMin: 20,
  repeatedShareMax: 0.3,
  lengthShiftMax: 0.25,
  lengthShiftZ: 5,
  outlierDeviations: 1.9,
  outlierShardsMin: 5,
  outlierRequestsMin: 100,
  outlierMs: 30_000,
  outlierWindowMs: 60_000,
  softCapacityMax: 0.3,
  quarantinedCapacityMax: 0.5,
  cappedWeight: 0.3,
};
