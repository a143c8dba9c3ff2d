import type { SelectionPolicy } from "./selection-policy.ts";
import type { PromptDemand, ShardState } from "./shard-state.ts";

/** Why a shard may not take a prompt; the order is the order of the checks. */
export type FilterReason =
  | "jurisdiction"
  | "model"
  | "revision"
  | "context"
  | "tenantSet"
  | "excluded"
  | "draining"
  | "breaker"
  | "unhealthy"
  | "cold"
  | "ceiling";

/** Share of KV memory above which engines begin to preempt: llm-d's 0.8 and vLLM's practice, ours between. */
const kvShareMax = 0.85;

/**
 * How full a shard is, 1 is full: the worst of slots, KV memory, and seconds of prefill in front measured in promised time to
 * first token. An idle shard is 0 whatever is asked of it.
 */
export function saturationOf(state: ShardState, ttftSloSeconds: number): number {
  const prefillSeconds =
    state.pendingPrefillTokens / (state.replicas * state.speed.prefillTokensPerSecond);
  return Math.max(occupancyOf(state), prefillSeconds / ttftSloSeconds);
}

/** The fuller of slots and KV memory. */
function occupancyOf(state: ShardState): number {
  return Math.max(
    state.inFlight / state.concurrentRequestsMax,
    state.kvTokens / (kvShareMax * state.kvTokensMax),
  );
}

/**
 * Why a shard may not take a prompt, or null. A class's ceiling is asked last and never of an idle shard: a long prompt on a
 * small shard would otherwise be refused for ever. The conversation's home is asked for slots and KV memory alone: a few
 * uncached tokens may wait behind a long prefill, and whether that is too long the scores say. Refused there, the whole
 * context would be computed anew elsewhere, which fills that shard for the next one, and so on (docs/simulation.md).
 */
export function filterShard(
  state: ShardState,
  prompt: PromptDemand,
  policy: SelectionPolicy,
): FilterReason | null {
  if (state.jurisdiction !== prompt.jurisdiction) return "jurisdiction";
  if (state.model !== prompt.model) return "model";
  if (prompt.revision !== undefined && state.revision !== prompt.revision) return "revision";
  if (prompt.inputTokens + prompt.outputTokens > state.contextTokensMax) return "context";
  if (prompt.allowed !== null && !prompt.allowed.has(state.id)) return "tenantSet";
  if (prompt.excluded.includes(state.id)) return "excluded";
  if (state.isDraining) return "draining";
  if (!state.isAdmitting) return "breaker";
  // Written so that a weight that is no number is refused as well.
  if (!(state.weight > 0)) return "unhealthy";
  // Who waits for its start waits in the cell, where a shard that becomes free sooner is free to take the prompt.
  if ((state.readyInMs ?? 0) > 0) return "cold";
  if (state.inFlight === 0) return null;
  const { ceilings, ttftSloSeconds } = policy;
  // The promise of the interactive class measures prefill in front for all: a ceiling compares classes on one scale.
  const isHome = state.id === prompt.homeShard;
  const saturation = isHome ? occupancyOf(state) : saturationOf(state, ttftSloSeconds.interactive);
  return saturation >= (prompt.ceiling ?? ceilings[prompt.priority]) ? "ceiling" : null;
}
