import { priorities } from "../config/topology.ts";
import type { Priority, ShardDescription, WarmShardsMin } from "../config/topology.ts";
import { estimateRoundTripMs } from "../routing/near-cells.ts";
import type { Position } from "../routing/near-cells.ts";
import { lifecyclePolicyOf } from "./lifecycle-policy.ts";

/** Warm shards of one model that each class wants, by class. */
export type WarmQuota = Readonly<Record<Priority, number>>;

/** Cells of a jurisdiction with their place. */
export interface QuotaCell {
  readonly id: string;
  readonly region: string;
  readonly place: Position;
}

/** What the shares of the cells of a jurisdiction in keeping one model warm are decided from. */
export interface QuotaInput {
  readonly cells: readonly QuotaCell[];
  /** Of the model, in the jurisdiction. */
  readonly shards: readonly ShardDescription[];
  readonly warmShardsMin: WarmShardsMin;
  /** Classes that a tenant of the jurisdiction may ask for. */
  readonly contracted: ReadonlySet<Priority>;
}

const nothing: WarmQuota = { critical: 0, interactive: 0, standard: 0, batch: 0 };
/** Warm shards that a region keeps for a class by default: the critical one survives the loss of a cell (routing rules, 11). */
const usualMin: WarmQuota = { critical: 2, interactive: 1, standard: 0, batch: 0 };
/** A region may have nothing warm where a start takes less than this, ms (routing rules, 11), … */
const zeroStartMsMax = 75_000;
/** … and a region that keeps something warm is this near: a tenth of the interactive promise of 2 s, ms (our choice). */
const neighbourMsMax = 200;

/** Whether shards that may be taken away at any time count for a class: critical and interactive prompts never rely on them alone. */
export function mayRelyOn(priority: Priority, purchase: ShardDescription["purchase"]): boolean {
  return purchase !== "spot" || priority === "standard" || priority === "batch";
}

function wanted({ contracted, warmShardsMin }: QuotaInput): WarmQuota {
  const of = (priority: Priority): number =>
    contracted.has(priority) ? (warmShardsMin[priority] ?? usualMin[priority]) : 0;
  return {
    critical: of("critical"),
    interactive: of("interactive"),
    standard: of("standard"),
    batch: of("batch"),
  };
}

function isNothing(quota: WarmQuota): boolean {
  return priorities.every((priority) => quota[priority] === 0);
}

/** The shares of one region's cells: one each in turn, so that two shards stand in two cells where there are two. */
function spread(
  cells: readonly string[],
  shards: readonly ShardDescription[],
  quota: WarmQuota,
): ReadonlyMap<string, WarmQuota> {
  const shares = new Map<string, Record<Priority, number>>(
    cells.map((cell) => [cell, { ...nothing }]),
  );
  for (const priority of priorities) {
    const left = new Map(
      cells.map((cell) => {
        const own = shards.filter((shard) => shard.cell === cell);
        return [cell, own.filter(({ purchase }) => mayRelyOn(priority, purchase)).length];
      }),
    );
    let missing = quota[priority];
    for (
      let round = 0;
      missing > 0 && [...left.values()].some((count) => count > round);
      round += 1
    ) {
      for (const [cell, count] of left) {
        const share = shares.get(cell);
        if (missing === 0 || count <= round || share === undefined) continue;
        share[priority] += 1;
        missing -= 1;
      }
    }
  }
  return shares;
}

/**
 * How many shards of a model each cell of a jurisdiction keeps warm. Every cell comes to the same shares from the same topology,
 * so none asks another. A region's minimum counts per class, where the class has a tenant, and is spread over its cells. A region
 * whose minimum is nothing may scale to zero only where a near region keeps something warm and its own start is short; else it
 * keeps one, and of several such regions the first keeps it for those near it. Shards that no platform takes down count as well.
 */
export function warmQuotas(input: QuotaInput): ReadonlyMap<string, WarmQuota> {
  const { cells, contracted, shards } = input;
  const quota = wanted(input);
  const result = new Map<string, WarmQuota>();
  if (contracted.size === 0) return result;
  const serving = cells
    .filter(({ id }) => shards.some(({ cell }) => cell === id))
    .toSorted((left, right) => (left.id < right.id ? -1 : 1));
  const keepers: QuotaCell[] = [];
  for (const region of [...new Set(serving.map((cell) => cell.region))].toSorted()) {
    const own = serving.filter((cell) => cell.region === region);
    const ownIds = new Set(own.map(({ id }) => id));
    const ownShards = shards.filter(({ cell }) => ownIds.has(cell));
    const [first] = own;
    if (first === undefined) continue;
    const isNear = keepers.some(
      ({ place }) => estimateRoundTripMs(place, first.place) <= neighbourMsMax,
    );
    const isQuick = ownShards.every(
      (shard) => lifecyclePolicyOf(shard).coldStartMs < zeroStartMsMax,
    );
    const mustKeep = !isNothing(quota) || !isNear || !isQuick;
    if (!mustKeep) continue;
    keepers.push(first);
    const ids = own.map(({ id }) => id);
    const minimum = isNothing(quota) ? { ...nothing, standard: 1 } : quota;
    for (const [cell, share] of spread(ids, ownShards, minimum)) result.set(cell, share);
  }
  return result;
}
