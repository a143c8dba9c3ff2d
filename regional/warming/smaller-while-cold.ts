import type { Topology } from "#shared/config/topology.ts";
import { defaultDegradePolicy } from "#shared/overload/degrade-policy.ts";
import { smallerWhileCold } from "#shared/overload/degrade-turn.ts";
import type { CellModel } from "#shared/overload/degrade-turn.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { CellId, Jurisdiction } from "#shared/residency/brands.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";

export interface SmallerOptions {
  readonly cell: { readonly id: CellId; readonly jurisdiction: Jurisdiction };
  readonly topology: Topology;
  readonly statuses: () => readonly ShardStatus[];
  /** Whether another cell of the jurisdiction is thought to have a running shard of the model. */
  readonly hasWarmNeighbour: (model: string) => boolean;
  readonly metrics: MetricsRegistry;
}

/**
 * Gives a turn the smaller model that its tenant names, while the one it asks for would have to be started, here and in every cell
 * that it may still go to; else the turn as it is.
 */
export function createSmallerWhileCold(
  options: SmallerOptions,
): (turn: TurnRequest) => TurnRequest {
  const { cell, hasWarmNeighbour, metrics, statuses, topology } = options;
  const own = topology.jurisdictions.get(cell.jurisdiction);
  const taken = metrics.counter(
    "meridian_smaller_while_cold_total",
    "Turns that the tenant's smaller model answered because the one asked for was cold.",
  );

  function modelOf(model: string): CellModel | null {
    const shards = statuses().filter((shard) => shard.model === model);
    const contextTokensMax = own?.models.get(model)?.contextTokensMax;
    if (shards.length === 0 || contextTokensMax === undefined) return null;
    return { contextTokensMax, isUsable: shards.some(({ isUsable }) => isUsable) };
  }

  function isCold(model: string): boolean {
    const shards = statuses().filter((shard) => shard.model === model);
    return (
      !shards.some(({ isUsable }) => isUsable) &&
      shards.some(({ life }) => (life.readyInMs ?? 0) > 0)
    );
  }

  return (turn) => {
    const { model } = turn.engine;
    const tenant = topology.tenants.get(turn.tenant)?.degradation;
    if (tenant === undefined || !tenant.smallerModels.has(model) || !isCold(model)) return turn;
    if (turn.hop === 0 && hasWarmNeighbour(model)) return turn;
    const smaller = smallerWhileCold(turn, { tenant, modelOf }, defaultDegradePolicy);
    if (smaller === null) return turn;
    taken.add({ model, class: turn.priority });
    return smaller;
  };
}
