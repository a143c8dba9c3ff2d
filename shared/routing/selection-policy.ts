import type { Priority } from "../config/topology.ts";

/** Numbers of the selection of a shard. All are starting values of our own unless a source is named; docs/simulation.md tests them. */
export interface SelectionPolicy {
  /** Time to first token that a class is promised, seconds: what a predicted second is measured against. */
  readonly ttftSloSeconds: Readonly<Record<Priority, number>>;
  /** Time per token that every class is promised, seconds. */
  readonly itlSloSeconds: number;
  /** Weight of money against promised seconds. */
  readonly costWeights: Readonly<Record<Priority, number>>;
  /** Cost of one prompt that counts as 1, USD. */
  readonly costReferenceUsd: number;
  readonly itlWeight: number;
  readonly riskWeight: number;
  /** Saturation above which a class is refused by a shard that is not idle; 1 is full. */
  readonly ceilings: Readonly<Record<Priority, number>>;
  /**
   * Weight of the prefill that a prompt takes from the others, in promised times to first token at the cell's mean speed: a
   * warm shard with a queue is often better for all than a cold one without, because tokens computed anew delay whoever
   * comes next and drive other prefixes out of memory.
   */
  readonly displacementWeight: number;
  /** A shard may carry this much more than its share of the work: bounded loads (Mirrokni 2016), as a net under the scores. */
  readonly loadBound: number;
  /** The same while the cell's degradation level is 2 or more: then no shard is spared for the sake of a cache. */
  readonly loadBoundCrowded: number;
  /** Seconds of work that are never too much: with few prompts in flight any one of them is more than a share. */
  readonly loadBoundFreeSeconds: number;
  /** A home is kept while its score is at most this much above the best one's. */
  readonly homeMargin: number;
  /** Scores closer than this are equal: the affinity key or the lot decides. */
  readonly tieMargin: number;
  /** Up to this many shards all are scored; above, the home, the warmest, two of the key's and the emptiest. */
  readonly scoredMax: number;
}

/**
 * SLO: 0.5 s and 50 ms are Dynamo's planner's; ours are wider because profiles start at L4. Weights of time per token and of
 * displacement, and the load bound, were chosen on the first halves of the conversation and coding traces (docs/simulation.md).
 */
export const defaultSelectionPolicy: SelectionPolicy = {
  ttftSloSeconds: { critical: 1, interactive: 2, standard: 4, batch: 30 },
  itlSloSeconds: 0.1,
  costWeights: { critical: 0.05, interactive: 0.15, standard: 0.4, batch: 1 },
  costReferenceUsd: 0.01,
  itlWeight: 1,
  riskWeight: 0.3,
  ceilings: { critical: 1, interactive: 0.9, standard: 0.75, batch: 0.55 },
  displacementWeight: 2,
  loadBound: 3,
  loadBoundCrowded: 0.1,
  loadBoundFreeSeconds: 30,
  homeMargin: 0.15,
  tieMargin: 0.02,
  scoredMax: 64,
};

const crowdedPolicy: SelectionPolicy = {
  ...defaultSelectionPolicy,
  loadBound: defaultSelectionPolicy.loadBoundCrowded,
};

/** The policy of a cell at a degradation level, 0 to 4. */
export function selectionPolicyAt(level: number): SelectionPolicy {
  return level >= 2 ? crowdedPolicy : defaultSelectionPolicy;
}
