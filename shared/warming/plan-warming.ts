import { priorities } from "../config/topology.ts";
import type { ShardDescription } from "../config/topology.ts";
import type { ShardId } from "../residency/brands.ts";
import type { ShardLifecycle } from "./shard-lifecycle.ts";
import { mayRelyOn } from "./warm-quota.ts";
import type { WarmQuota } from "./warm-quota.ts";

/** A shard of one model in one cell. */
export interface WarmableShard {
  readonly id: ShardId;
  readonly purchase: ShardDescription["purchase"];
  readonly lifecycle: ShardLifecycle;
  /** Whether a start that took too long is why it counts as failed: only asking it again can tell. */
  readonly hasFailedToStart: boolean;
  /** How long a cold start of it is expected to take, ms. */
  readonly coldStartMs: number;
  /** Idle time after which its platform takes it down, ms; null: never. */
  readonly scaleToZeroMs: number | null;
  /** How long nobody has asked it, ms. */
  readonly idleMs: number;
  readonly slots: number;
}

/** What is wanted of the shards of one model. */
export interface WarmingDemand {
  /** The cell's share of the region's minimum. */
  readonly quota: WarmQuota;
  /** Shards that a forecast wants warm. */
  readonly preload: number;
  /** Prompts that found only cold or full shards; 0: none did. */
  readonly waiting: number;
}

/** A one-token prompt that is worth its price, and why: metric label and log field. */
export interface WarmingAction {
  readonly shard: ShardId;
  readonly reason: "minimum" | "preload" | "demand" | "starting" | "failedStart" | "idle";
}

/** A shard is asked when this share of its platform's idle time has passed: late enough to be cheap, and one may be lost (our choice). */
const idleShare = 0.6;

/** What is nearest to answering comes first. */
const closeness: Readonly<Record<ShardLifecycle, number>> = {
  ready: 0,
  warming: 1,
  cold: 2,
  failed: 3,
  draining: 3,
};

function inOrder(shards: readonly WarmableShard[]): readonly WarmableShard[] {
  return shards
    .filter(({ lifecycle }) => lifecycle !== "draining" && lifecycle !== "failed")
    .toSorted(
      (left, right) =>
        closeness[left.lifecycle] - closeness[right.lifecycle] ||
        // What costs nothing to keep up is kept first.
        Number(left.scaleToZeroMs !== null) - Number(right.scaleToZeroMs !== null) ||
        left.coldStartMs - right.coldStartMs,
    );
}

/**
 * Which shards of a model in a cell are sent a one-token prompt now. Kept: for each class as many as its quota says, what runs
 * before what would have to be started; for a forecast as many as it says; for prompts that wait as many as they fill. A kept
 * shard that is cold is asked, one that runs is asked when its platform is about to take it down, one that starts is asked until
 * it answers. What is drained or ill is not kept: the next one takes its place.
 */
export function planWarming(
  shards: readonly WarmableShard[],
  demand: WarmingDemand,
): readonly WarmingAction[] {
  const order = inOrder(shards);
  const kept = new Map<ShardId, WarmingAction["reason"]>();
  for (const priority of priorities) {
    const usable = order.filter(({ purchase }) => mayRelyOn(priority, purchase));
    for (const { id } of usable.slice(0, demand.quota[priority])) kept.set(id, "minimum");
  }
  for (const { id } of order.slice(0, demand.preload)) if (!kept.has(id)) kept.set(id, "preload");
  let unserved = demand.waiting;
  for (const { id, lifecycle, slots } of order) {
    if (unserved <= 0) break;
    // Those that run are full, or nobody would wait.
    if (lifecycle === "ready") continue;
    if (!kept.has(id)) kept.set(id, "demand");
    unserved -= slots;
  }
  return shards.flatMap((shard): readonly WarmingAction[] => {
    const { hasFailedToStart, id, idleMs, lifecycle, scaleToZeroMs } = shard;
    const why = kept.get(id);
    switch (lifecycle) {
      case "cold":
        return why === undefined ? [] : [{ shard: id, reason: why }];
      case "warming":
        return [{ shard: id, reason: "starting" }];
      case "ready": {
        const isDue = scaleToZeroMs !== null && idleMs >= idleShare * scaleToZeroMs;
        return why !== undefined && isDue ? [{ shard: id, reason: "idle" }] : [];
      }
      case "failed":
        return hasFailedToStart ? [{ shard: id, reason: "failedStart" }] : [];
      case "draining":
        return [];
    }
  });
}
