import type { EngineProfile } from "#dev/simulated-engine/model/profiles.ts";
import { stepTimeMs } from "#dev/simulated-engine/model/step-time.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import { chunkTokens } from "./request-trace.ts";
import type { TraceRequest } from "./request-trace.ts";

/** What a replica's speed depends on. */
export interface ReplicaHardware {
  readonly profile: EngineProfile;
  readonly concurrentRequestsMax: number;
}

function itlSeconds({ profile }: ReplicaHardware, batch: number, contextTokens: number): number {
  const kvTokensRead = batch * contextTokens;
  return stepTimeMs(profile, { prefillTokens: 0, decodeSequences: batch, kvTokensRead }) / 1_000;
}

/** Largest batch that keeps the promised time per token, and what ends it there. */
export interface UsefulBatch {
  readonly sequences: number;
  readonly boundBy: "timePerToken" | "slots" | "kvMemory";
}

/** The batch that a replica works best with for contexts of so many tokens: bounded by slots, KV memory and the time per token. */
export function usefulBatch(hardware: ReplicaHardware, contextTokens: number): UsefulBatch {
  const { profile, concurrentRequestsMax } = hardware;
  const inMemory = Math.max(1, Math.floor(profile.kvTokens / contextTokens));
  const most = Math.min(concurrentRequestsMax, inMemory);
  let sequences = 1;
  while (
    sequences < most &&
    itlSeconds(hardware, sequences + 1, contextTokens) <= defaultSelectionPolicy.itlSloSeconds
  )
    sequences += 1;
  if (sequences < most) return { sequences, boundBy: "timePerToken" };
  return { sequences, boundBy: inMemory < concurrentRequestsMax ? "kvMemory" : "slots" };
}

interface TokenMeans {
  readonly input: number;
  readonly uncached: number;
  readonly output: number;
}

function tokenMeans(requests: readonly TraceRequest[]): TokenMeans {
  const seen = new Set<number>();
  let [input, uncached, output] = [0, 0, 0];
  for (const { chunks, inputTokens, outputTokens } of requests) {
    let known = 0;
    while (known < chunks.length && seen.has(chunks[known] ?? 0)) known += 1;
    for (let at = known; at < chunks.length; at += 1) seen.add(chunks[at] ?? 0);
    input += inputTokens;
    uncached += Math.max(1, inputTokens - known * chunkTokens);
    output += outputTokens;
  }
  const count = Math.max(1, requests.length);
  return { input: input / count, uncached: uncached / count, output: output / count };
}

/** Tokens of a prompt that have to be computed with one infinite cache, mean. */
export function uncachedTokens(requests: readonly TraceRequest[]): number {
  return tokenMeans(requests).uncached;
}

/**
 * Requests per second of these requests' mean that the fleet can do: `1 / (uncached/P + out*ITL(b)/b)` summed over the shards,
 * with every prefix cached that one infinite cache would have. What `--load 1` means; a policy that caches less is overloaded
 * before that. An estimate: real batches interfere.
 */
export function fleetCapacity(
  requests: readonly TraceRequest[],
  fleet: readonly ReplicaHardware[],
): number {
  const { input, output, uncached } = tokenMeans(requests);
  const context = Math.max(1, input + output / 2);
  return fleet.reduce((sum, shard) => {
    const batch = usefulBatch(shard, context).sequences;
    const prefillSeconds = (uncached * shard.profile.computeMsPerToken) / 0.85 / 1_000;
    const decodeSeconds = (output * itlSeconds(shard, batch, context)) / batch;
    return sum + 1 / (prefillSeconds + decodeSeconds);
  }, 0);
}
