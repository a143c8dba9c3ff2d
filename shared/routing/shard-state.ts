import type { Priority } from "../config/topology.ts";
import type { Jurisdiction, ShardId } from "../residency/brands.ts";

/** How fast one replica of a shard works; measured or taken from its hardware's profile. */
export interface ShardSpeed {
  /** Prefill tokens per second of one replica. */
  readonly prefillTokensPerSecond: number;
  /** Shortest step of one replica, seconds: reading the weights once and the host's share. */
  readonly stepFloorSeconds: number;
  /** What one more sequence in the batch adds to a step, seconds. */
  readonly sequenceSeconds: number;
  /** What one resident KV token adds to a step, seconds. */
  readonly kvTokenSeconds: number;
}

/**
 * A shard as its cell sees it at the moment of choosing. Counters of the cell itself have age 0; what engines report may be
 * seconds old. Ratios and weights outside their range are read as the nearest bound, so that a lying metric breaks nothing.
 */
export interface ShardState {
  readonly id: ShardId;
  readonly model: string;
  readonly revision: string;
  readonly jurisdiction: Jurisdiction;
  /** Longest prompt and answer together, tokens. */
  readonly contextTokensMax: number;
  readonly isDraining: boolean;
  /** Whether its breaker lets one more request through now. */
  readonly isAdmitting: boolean;
  /** Expected time until it runs, where it does not, ms; absent or 0: it does. Prompts do not go to a shard that is not running. */
  readonly readyInMs?: number;
  /** Health weight, 0..1; a shard of weight 0 is not chosen. */
  readonly weight: number;
  readonly speed: ShardSpeed;
  /** Replicas behind the shard's address, ≥ 1. */
  readonly replicas: number;
  /** Sequences that all replicas together run at once. */
  readonly concurrentRequestsMax: number;
  readonly kvTokensMax: number;
  /** Requests sent to the shard that have not ended. */
  readonly inFlight: number;
  /** KV tokens that its requests hold, those still to be written by their prompts included. */
  readonly kvTokens: number;
  /** Uncached prompt tokens that were sent and whose first token is not there yet: `Q` of the formulas. */
  readonly pendingPrefillTokens: number;
  /** Work in flight, tokens: uncached input + 2 × expected output of each request. */
  readonly workTokens: number;
  /** Observed / predicted time to first token: `rho` of the formulas (error-ratio.ts). */
  readonly errorRatio: number;
  /** Round trip between cell and shard, seconds. */
  readonly roundTripSeconds: number;
  readonly usdPerMillionInputTokens: number;
  readonly usdPerMillionOutputTokens: number;
}

/** What a shard is wanted for. */
export interface PromptDemand {
  readonly jurisdiction: Jurisdiction;
  readonly model: string;
  /** Set when only this revision will do: an answer that was begun goes on with the same weights. */
  readonly revision?: string;
  readonly inputTokens: number;
  /** Expected, not reserved: the tenant's usual length, never above what the client allows. */
  readonly outputTokens: number;
  readonly priority: Priority;
  /** Saturation from which on a shard that is not idle is full for the prompt now; its class's own without. */
  readonly ceiling?: number;
  /** Shard of the conversation's last turn. */
  readonly homeShard: ShardId | null;
  /** Prompts with one key should meet one warm cache. Empty: there is nothing to meet. */
  readonly affinityKey: string;
  /** Tried already; a handful at most. */
  readonly excluded: readonly ShardId[];
  /** The tenant's shuffle set; null: every shard. */
  readonly allowed: ReadonlySet<ShardId> | null;
}

/** Input tokens that a shard would have to compute: never below 1, because logits need a token. */
export function uncachedTokens(prompt: PromptDemand, cachedTokens: number): number {
  const cached = cachedTokens > 0 ? cachedTokens : 0;
  return Math.max(1, prompt.inputTokens - cached);
}

/** Work of a prompt on a shard, tokens: a decoded token counts twice because its step is shared with fewer (our choice). */
export function workOf(prompt: PromptDemand, cachedTokens: number): number {
  return uncachedTokens(prompt, cachedTokens) + 2 * prompt.outputTokens;
}
