import type { CellHint, ShardHint } from "#shared/health/hint.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import type { ShardStatus } from "./shard-book.ts";

/** What a cell tells the edges about itself: coarse numbers, no URLs, no tenants. */
export function describeCell(
  statuses: readonly ShardStatus[],
  waiting: ReadonlyMap<string, number>,
  isDraining: boolean,
  level: DegradationLevel,
): Pick<CellHint, "weight" | "saturation" | "level" | "models" | "shards"> {
  const capacity = statuses.reduce((sum, shard) => sum + shard.concurrentRequestsMax, 0);
  const usable = statuses.reduce((sum, shard) => sum + usableCapacity(shard), 0);
  // What would have to be started first takes nobody's load.
  const running = statuses.reduce(
    (sum, shard) => sum + (isCold(shard) ? 0 : usableCapacity(shard)),
    0,
  );
  const inFlight = statuses.reduce((sum, shard) => sum + shard.inFlight, 0);
  return {
    weight: isDraining || capacity === 0 ? 0 : round(usable / capacity),
    saturation: running === 0 ? 0 : round(inFlight / running),
    level,
    models: [...new Set(statuses.filter(isServing).map(({ model }) => model))].toSorted(),
    shards: statuses.map((shard) => hintOf(shard, waiting.get(shard.model) ?? 0)),
  };
}

/** Whether it takes no prompts, neither now nor for being asked: an operator drains it, or the region's plan does without it. */
function isLeft({ isDraining, life }: ShardStatus): boolean {
  return isDraining || life.reason === "scaledDown";
}

function isServing(shard: ShardStatus): boolean {
  return shard.breaker !== "open" && !isLeft(shard);
}

function usableCapacity(shard: ShardStatus): number {
  return isLeft(shard) ? 0 : shard.weight * shard.concurrentRequestsMax;
}

function isCold({ life }: ShardStatus): boolean {
  return life.lifecycle === "cold" || life.lifecycle === "warming";
}

/** Hundredths: a hint that changed by less is not worth a write. */
function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function hintOf(shard: ShardStatus, queued: number): ShardHint {
  const { breaker, id, inFlight, life, weight } = shard;
  return {
    id,
    weight: isLeft(shard) ? 0 : round(weight),
    breaker,
    state: life.lifecycle,
    readyInSeconds: isCold(shard) && life.readyInMs !== null ? coarse(life.readyInMs) : null,
    inFlight,
    queued,
  };
}

/** Steps of five seconds: a start that comes nearer by less is not worth a write. */
function coarse(milliseconds: number): number {
  return 5 * Math.ceil(milliseconds / 5_000);
}
