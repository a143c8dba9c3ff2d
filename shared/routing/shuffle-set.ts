import type { Priority } from "../config/topology.ts";
import type { ShardId } from "../residency/brands.ts";
import { rankByRendezvous } from "./rendezvous.ts";

/** Below this many shards of a model in a cell a tenant gets {@link smallSetSize}. */
const smallCell = 6;
const smallSetSize = 2;
/** Shares of a cell's shards: 3 of 8 are 56 sets with 1.8 % full overlap, 4 of 8 for the critical class are 70. */
const share = 3 / 8;
const criticalShare = 1 / 2;

/** How many of `shardCount` shards a tenant's prompts may use; at most all of them. */
export function shuffleSetSize(shardCount: number, priority: Priority): number {
  if (shardCount < smallCell) return Math.min(smallSetSize, shardCount);
  return Math.ceil(shardCount * (priority === "critical" ? criticalShare : share));
}

/**
 * The shards of a model that a tenant's prompts may use (shuffle sharding): the first of a rendezvous on the tenant, so that
 * a prompt that breaks shards takes few of everybody else's with it, and a new shard moves few sets. The set of the critical
 * class contains that of the others.
 */
export function shuffleSet(
  tenant: string,
  shards: readonly ShardId[],
  priority: Priority,
): ReadonlySet<ShardId> {
  const ranked = rankByRendezvous(
    `shuffle|${tenant}`,
    shards.map((id) => ({ id, weight: 1 })),
  );
  return new Set(ranked.slice(0, shuffleSetSize(shards.length, priority)));
}
