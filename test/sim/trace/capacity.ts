import { stepTimeMs } from "#dev/simulated-engine/model/step-time.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import { chunkTokens } from "./engine/chunk-cache.ts";
import type { FleetShard } from "./fleet.ts";
import type { TraceRequest } from "./trace.ts";

function itlSeconds({ profile }: FleetShard, batch: number, contextTokens: number): number {
  const kvTokensRead = batch * contextTokens;
  return stepTimeMs(profile, { prefillTokens: 0, decodeSequences: batch, kvTokensRead }) / 1_000;
}

/** Largest batch that keeps the promised time per token, bounded by slots and KV memory. */
function usefulBatch(shard: FleetShard, contextTokens: number): number {
  const { profile, concurrentRequestsMax } = shard;
  const most = Math.min(concurrentRequestsMax, Math.floor(profile.kvTokens / contextTokens));
  let batch = 1;
  while (
    batch < most &&
    itlSeconds(shard, batch + 1, contextTokens) <= defaultSelectionPolicy.itlSloSeconds
  )
    batch += 1;
  return batch;
}

/**
 * Requests per second of these requests' mean that the fleet can do: `1 / (uncached/P + out*ITL(b)/b)` summed over the shards,
 * with every prefix cached that one infinite cache would have. What `--load 1` means; a policy that caches less is overloaded
 * before that. An estimate: real batches interfere.
 */
export function fleetCapacity(
  requests: readonly TraceRequest[],
  fleet: readonly FleetShard[],
): number {
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
  const context = Math.max(1, (input + output / 2) / count);
  return fleet.reduce((sum, shard) => {
    const batch = usefulBatch(shard, context);
    const prefillSeconds = ((uncached / count) * shard.profile.computeMsPerToken) / 0.85 / 1_000;
    const decodeSeconds = ((output / count) * itlSeconds(shard, batch, context)) / batch;
    return sum + 1 / (prefillSeconds + decodeSeconds);
  }, 0);
}
