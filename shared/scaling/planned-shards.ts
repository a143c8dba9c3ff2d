import type { PoolDescription } from "../config/scaling.ts";
import type { ShardId } from "../residency/brands.ts";

/** A plan that was not written again for this long is nobody's any more, ms: it is kept anew every minute. */
export const plannedMsMax = 150_000;

/** Replicas of each pool in a plan as the leader keeps it; null when the text is no plan. */
export function readPlannedReplicas(text: string): ReadonlyMap<string, number> | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !("pools" in value)) return null;
  if (!Array.isArray(value.pools)) return null;
  const planned = new Map<string, number>();
  for (const one of value.pools as readonly unknown[]) {
    if (typeof one !== "object" || one === null || !("pool" in one) || !("replicas" in one))
      return null;
    const { pool, replicas } = one;
    if (typeof pool !== "string" || !Number.isSafeInteger(replicas)) return null;
    planned.set(pool, Math.max(0, Number(replicas)));
  }
  return planned;
}

/** How many of some shards a plan wants up: of each pool the first ones, as the topology lists them. */
export function plannedShards(
  pools: readonly Pick<PoolDescription, "id" | "shards">[],
  planned: ReadonlyMap<string, number>,
  isCounted: (shard: ShardId) => boolean,
): number {
  return pools
    .flatMap(({ id, shards }) => shards.slice(0, planned.get(id) ?? 0))
    .filter((shard) => isCounted(shard)).length;
}
