import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import type { PromptDemand, ShardState } from "#shared/routing/shard-state.ts";

/** An idle shard of an H100's order of size, for tests of the selection. */
export function aShard(id: string, change: Partial<ShardState> = {}): ShardState {
  return {
    id: id as ShardId,
    model: "m",
    revision: "1",
    jurisdiction: "eu" as Jurisdiction,
    contextTokensMax: 1_000_000,
    isDraining: false,
    isAdmitting: true,
    weight: 1,
    speed: {
      prefillTokensPerSecond: 10_000,
      stepFloorSeconds: 0.01,
      sequenceSeconds: 0.0001,
      kvTokenSeconds: 4e-8,
    },
    replicas: 1,
    concurrentRequestsMax: 64,
    kvTokensMax: 400_000,
    inFlight: 0,
    kvTokens: 0,
    pendingPrefillTokens: 0,
    workTokens: 0,
    errorRatio: 1,
    roundTripSeconds: 0,
    usdPerMillionInputTokens: 0.1,
    usdPerMillionOutputTokens: 0.4,
    ...change,
  };
}

/** A chat turn without home or key. */
export function aPrompt(change: Partial<PromptDemand> = {}): PromptDemand {
  return {
    jurisdiction: "eu" as Jurisdiction,
    model: "m",
    inputTokens: 1_000,
    outputTokens: 200,
    priority: "interactive",
    homeShard: null,
    affinityKey: "",
    excluded: [],
    allowed: null,
    ...change,
  };
}
