import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import type { SelectionReason } from "#shared/routing/score-shard.ts";
import type { PromptDemand, ShardState } from "#shared/routing/shard-state.ts";

/** What a policy is asked: the shards that may take the prompt are `eligible`, by position. */
export interface PolicyQuestion {
  readonly shards: readonly ShardState[];
  /** At least one; shards that a filter refuses are not here. */
  readonly eligible: readonly number[];
  /** Tokens of the prompt that each shard is thought to hold, by position. */
  readonly cachedTokens: readonly number[];
  readonly prompt: PromptDemand;
  /** Degradation level of the cell. */
  readonly level: DegradationLevel;
}

/** A shard by position. `reason` is for the home's next place; policies without one give `best`. */
export interface PolicyAnswer {
  readonly index: number;
  readonly reason: SelectionReason;
}

/** A way to choose a shard. May keep state of its own between questions, as a turn counter. */
export interface RoutingPolicy {
  choose(question: PolicyQuestion, random: () => number): PolicyAnswer;
}
