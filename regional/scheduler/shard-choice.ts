import type { ShardId } from "#shared/residency/brands.ts";
import type { Spill } from "#shared/routing/next-home.ts";
import type { RejectedShard, ScoredShard, SelectionReason } from "#shared/routing/score-shard.ts";
import type { AnswerKind } from "./answer-lengths.ts";

/** What a chosen shard is predicted to do with the prompt. */
export interface PredictedTimes {
  readonly ttftSeconds: number;
  readonly interTokenSeconds: number;
  /** Tokens of the answer to expect, and those that 90 % of its kind stay below. */
  readonly outputTokens: number;
  readonly outputTokensP90: number;
}

/** Why a shard was chosen; `overflow`: the tenant's own set had no room or was ill. */
export type ChoiceReason = SelectionReason | "overflow";

/** A shard with its reason, or why there is none. */
export type ShardChoice =
  | {
      readonly kind: "chosen";
      readonly shard: ShardId;
      readonly reason: ChoiceReason;
      /** Set when the conversation's home could have taken it later. */
      readonly spill: Spill | null;
      readonly score: number;
      readonly predicted: PredictedTimes;
      /** What it was chosen for; `begin` counts it. */
      readonly demand: ChosenDemand;
      /** The next best, at most three. */
      readonly runnersUp: readonly ScoredShard[];
      readonly rejected: readonly RejectedShard[];
    }
  | {
      readonly kind: "none";
      /** `full`: waiting helps; `cold`: none runs, some could; `unhealthy`: there are shards, none may be used now; `noShard`: none fits. */
      readonly reason: "full" | "cold" | "unhealthy" | "noShard";
      readonly rejected: readonly RejectedShard[];
      /** Where some are cold: expected time until the first of them runs, ms. */
      readonly readyInMs?: number;
    };

/** The prompt on its shard, tokens. */
export interface ChosenDemand {
  readonly answerKind: AnswerKind;
  readonly inputTokens: number;
  readonly uncachedTokens: number;
  readonly outputTokens: number;
  readonly workTokens: number;
  /** Its predicted time to first token before what was observed of the shard corrects it. */
  readonly basicTtftSeconds: number;
  /** KV memory that it takes beyond what prompts with the same prefix have in common. */
  readonly kvTokens: number;
  readonly promptKeys: readonly number[];
  readonly conversationId: string | null;
}

/** What an answer showed when it ended. */
export interface AnswerSeen {
  /** Tokens of the answer that the shard has given, as far as is known. */
  readonly tokens: number;
  /** Share of its runs of four tokens that it had before, 0..1; left out where nobody looked. */
  readonly repeatedShare?: number;
  /** The prompt as the engine counted it; null where it did not say. */
  readonly prompt: { readonly tokens: number; readonly cachedTokens: number } | null;
}
