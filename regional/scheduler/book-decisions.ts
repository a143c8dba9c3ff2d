import { movePays } from "#shared/routing/next-home.ts";
import { predict } from "#shared/routing/predict.ts";
import type { Selection, SelectionInput } from "#shared/routing/score-shard.ts";
import type { PromptDemand, ShardSpeed, ShardState } from "#shared/routing/shard-state.ts";
import type { ModelShards } from "./model-shards.ts";
import { stateOf } from "./shard-entry.ts";
import type { ShardEntry } from "./shard-entry.ts";

/** Whether a spilled conversation should go on where it went: a home without room, or one that is not worth waiting for. */
export function spillOf(
  { chosen, home }: Selection & { readonly kind: "chosen" },
  prompt: PromptDemand,
  cachedTokens: number,
  { prefillTokensPerSecond }: ShardSpeed,
): "once" | "pays" {
  if (home === null) return "once";
  const gapSeconds = home.prediction.ttftSeconds - chosen.prediction.ttftSeconds;
  const contextTokens = prompt.inputTokens;
  const pays = movePays({ gapSeconds, contextTokens, cachedTokens, prefillTokensPerSecond });
  return pays ? "pays" : "once";
}

/** Predicted seconds to the first token before what was observed of the shard corrects them. */
export function basicTtft(
  { surroundings }: ModelShards,
  entry: ShardEntry,
  prompt: PromptDemand,
  cachedTokens: number,
  nowMs: number,
): number {
  const state = { ...stateOf(entry, surroundings, nowMs), errorRatio: 1 };
  return predict(state, prompt, cachedTokens).ttftSeconds;
}

/** Where the cold shards keep a prompt waiting: when the first of them is expected to run. */
export function startOf(
  { candidates }: SelectionInput,
  { rejected }: Selection & { readonly kind: "none" },
): { readonly readyInMs?: number } {
  const cold = new Set(rejected.filter(({ reason }) => reason === "cold").map(({ id }) => id));
  const times = candidates.filter(({ id }) => cold.has(id)).map(({ readyInMs = 0 }) => readyInMs);
  return times.length === 0 ? {} : { readyInMs: Math.min(...times) };
}

/** The state once only `share` of the load is left. */
export function withLoad(state: ShardState, share: number): ShardState {
  return {
    ...state,
    inFlight: Math.round(state.inFlight * share),
    kvTokens: state.kvTokens * share,
    pendingPrefillTokens: state.pendingPrefillTokens * share,
    workTokens: state.workTokens * share,
  };
}
