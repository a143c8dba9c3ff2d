import { uncachedTokens } from "./shard-state.ts";
import type { PromptDemand, ShardState } from "./shard-state.ts";

/** Bounds of the observed / predicted ratio (our choice): one outlier may neither silence a shard nor make it a magnet. */
export const errorRatioMin = 0.5;
export const errorRatioMax = 8;

/** Predicted seconds of a prompt on a shard. */
export interface Prediction {
  readonly ttftSeconds: number;
  /** Time per token after the first. */
  readonly itlSeconds: number;
}

function within(value: number, low: number, high: number, otherwise: number): number {
  if (Number.isNaN(value)) return otherwise;
  return Math.min(high, Math.max(low, value));
}

/** Seconds per decoding step with one more sequence: `a + c*(b+1) + k*kv`, per replica. */
export function predictItlSeconds(state: ShardState, contextTokens: number): number {
  const { stepFloorSeconds, sequenceSeconds, kvTokenSeconds } = state.speed;
  const running = Math.min(state.inFlight + 1, state.concurrentRequestsMax) / state.replicas;
  const resident = Math.min(state.kvTokens + contextTokens, state.kvTokensMax) / state.replicas;
  return stepFloorSeconds + sequenceSeconds * running + kvTokenSeconds * resident;
}

/**
 * Predicts a prompt on a shard: round trip + rho × (uncached tokens in front and its own at prefill speed + wait for a slot or
 * for KV memory) + one step. Slots and KV of running streams come free over about one answer's time. `cachedTokens` is what
 * the shard is thought to hold of the prompt. Never NaN or below 0 for finite input.
 */
export function predict(state: ShardState, prompt: PromptDemand, cachedTokens: number): Prediction {
  const contextTokens = prompt.inputTokens + prompt.outputTokens;
  const itlSeconds = predictItlSeconds(state, contextTokens);
  const uncached = uncachedTokens(prompt, cachedTokens);
  const prefillSeconds =
    (state.pendingPrefillTokens + uncached) / (state.replicas * state.speed.prefillTokensPerSecond);
  const answerSeconds = prompt.outputTokens * itlSeconds;
  const slotsMissing = Math.max(0, state.inFlight + 1 - state.concurrentRequestsMax);
  const kvMissing = Math.max(0, state.kvTokens + contextTokens - state.kvTokensMax);
  const waitSeconds =
    answerSeconds *
    Math.max(slotsMissing / state.concurrentRequestsMax, kvMissing / state.kvTokensMax);
  const ratio = within(state.errorRatio, errorRatioMin, errorRatioMax, 1);
  return {
    ttftSeconds: state.roundTripSeconds + ratio * (prefillSeconds + waitSeconds) + itlSeconds,
    itlSeconds,
  };
}
