import type { PoolDescription } from "#shared/config/scaling.ts";
import type {
  CellDescription,
  Priority,
  ShardDescription,
  Topology,
} from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { ShardSpeed } from "#shared/routing/shard-state.ts";
import { defaultScalePolicy } from "#shared/scaling/scale-model.ts";
import { modalCommand } from "#shared/scaling/modal-command.ts";
import type { ScalePlan } from "#shared/scaling/scale-model.ts";
import type { ReplicaSpeed } from "#shared/scaling/turn-work.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { CellConfig } from "../config.ts";
import type { Clock } from "../ports/clock.ts";
import type { Platforms } from "../ports/platform.ts";
import type { ScalingStore } from "../ports/scaling-store.ts";
import type { QueueStatus } from "../scheduler/scheduler.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";
import { createDemandMeter } from "./demand-meter.ts";
import type { DemandMeter } from "./demand-meter.ts";
import { createLeaseKeeper, defaultLeasePolicy } from "./lease-keeper.ts";
import { createScaler, scalerTickMs } from "./scaler.ts";
import type { Scaler, ScalerObserver } from "./scaler.ts";

/** What a cell measures and plans for its region. */
export interface CellScaling {
  readonly meter: DemandMeter;
  /** The plans of this cell while it leads; empty otherwise. */
  plans(): readonly ScalePlan[];
  /** Begins to look; returns the stop, which waits for what runs and gives the lease up. */
  start(): () => Promise<void>;
}

export interface CellScalingOptions {
  readonly config: Pick<CellConfig, "cell" | "topology"> & {
    readonly shards: readonly { readonly description: ShardDescription }[];
  };
  readonly platforms: Platforms;
  readonly book: {
    statuses(nowMs: number): readonly ShardStatus[];
    speedOf(shard: ShardId): ShardSpeed;
  };
  /** How long the last cold starts of a shard took, ms. */
  readonly startsMsOf: (shard: ShardId) => readonly number[];
  readonly queues: () => readonly QueueStatus[];
  /** Null: there is no database, and so no scaler. */
  readonly store: ScalingStore | null;
  /** See {@link createScaler}. */
  readonly preload: (model: string, shards: number, untilMs: number) => void;
  readonly clock: Clock;
  readonly monotonicMs: () => number;
  /** Of this process. */
  readonly boot: string;
  readonly metrics: MetricsRegistry;
  readonly log: Log;
}

function createMeter(options: CellScalingOptions): DemandMeter {
  const { book, clock, config, queues, startsMsOf } = options;
  const shards = config.shards.map(({ description }) => description);
  const replicaOf = (model: string): ReplicaSpeed | null => {
    const shard = shards.find((one) => one.model === model);
    if (shard === undefined) return null;
    return {
      speed: book.speedOf(shard.id),
      concurrentRequestsMax: shard.concurrentRequestsMax,
      itlSloSeconds: defaultSelectionPolicy.itlSloSeconds,
    };
  };
  return createDemandMeter({
    models: [...new Set(shards.map(({ model }) => model))],
    replicaOf,
    waitingOf: (model) =>
      new Map<Priority, number>(
        queues()
          .filter((queue) => queue.model === model)
          .map(({ priority, waiting }) => [priority, waiting]),
      ),
    readyOf: (model) =>
      book
        .statuses(clock.nowMs())
        .filter((shard) => shard.model === model && shard.isUsable)
        .map(({ id }) => id),
    startsOf: (model) =>
      shards
        .filter((shard) => shard.model === model)
        .map(({ id }) => ({ shard: id, ms: [...startsMsOf(id)] }))
        .filter(({ ms }) => ms.length > 0),
    clock,
  });
}

/** Cells of the region with shards of the model. */
function cellsOf(topology: Topology, { jurisdiction, region }: CellDescription, model: string) {
  const shards = topology.jurisdictions.get(jurisdiction)?.shards ?? [];
  const owners = shards.filter((shard) => shard.model === model).map(({ cell }) => cell);
  return [...new Set(owners)].filter((id) => topology.cells.get(id)?.region === region);
}

/** Shards of the region that no pool has, by model. */
function fixedShards(
  topology: Topology,
  cell: CellDescription,
): ReadonlyMap<string, { readonly id: string; readonly zone: string }[]> {
  const pools = topology.scaling.get(cell.region)?.pools ?? [];
  const pooled = new Set(pools.flatMap((pool) => pool.shards));
  const fixed = new Map<string, { readonly id: string; readonly zone: string }[]>();
  for (const { cell: owner, id, model } of topology.jurisdictions.get(cell.jurisdiction)?.shards ??
    []) {
    const place = topology.cells.get(owner);
    if (place?.region !== cell.region || pooled.has(id)) continue;
    fixed.set(model, [...(fixed.get(model) ?? []), { id, zone: place.zone }]);
  }
  return fixed;
}

function createObserver(
  { log, metrics }: CellScalingOptions,
  pools: readonly PoolDescription[],
  plans: () => readonly ScalePlan[],
) {
  /** Orders that nothing carries out, as they were printed last. */
  const printed = new Map<string, number>();
  const planned = metrics.counter(
    "meridian_scaler_plans_total",
    "Plans of the region's leader, by model and reason.",
  );
  const orders = metrics.counter(
    "meridian_scaler_orders_total",
    "Orders to platforms, by pool and what became of them.",
  );
  metrics.gauge(
    "meridian_scaler_replicas",
    "Replicas of a pool as the leader sees them: ready, there (starting ones included), planned, and those of the planned that go once others have started (bridge).",
    (gauge) => {
      for (const plan of plans()) {
        for (const { bridge, pool, ready, replicas, there } of plan.pools) {
          gauge.set({ pool, kind: "ready" }, ready);
          gauge.set({ pool, kind: "there" }, there);
          gauge.set({ pool, kind: "planned" }, replicas);
          gauge.set({ pool, kind: "bridge" }, bridge);
        }
      }
    },
  );
  metrics.gauge(
    "meridian_scaler_start_seconds",
    "Time from asking for a replica of a pool to its first answer that the plan counts with.",
    (gauge) => {
      for (const plan of plans()) {
        for (const { pool, startSeconds } of plan.pools) gauge.set({ pool }, startSeconds);
      }
    },
  );
  metrics.gauge(
    "meridian_scaler_wanted_replicas",
    "What the load and the reserve for a lost zone would want of a model.",
    (gauge) => {
      for (const { model, wanted } of plans()) gauge.set({ model }, wanted);
    },
  );
  let token: number | null = null;
  metrics.gauge("meridian_scaler_leader", "1 on the cell that scales its region.", (gauge) => {
    gauge.set({}, token === null ? 0 : 1);
  });
  const observer: ScalerObserver = {
    planned({ model, reason, replicas, text, wanted }, isNew) {
      planned.add({ model, reason });
      log(isNew ? "info" : "debug", "scaler_plan", { model, reason, replicas, wanted, plan: text });
    },
    ordered(pool, replicas, result) {
      orders.add({ pool, result });
      // What was told already, or a moment ago, is no news.
      const isNews = result !== "same" && result !== "rateLimited" && result !== "backingOff";
      const level =
        result === "applied" ? "info" : isNews && result !== "planOnly" ? "warn" : "debug";
      log(level, "scaler_order", { pool, replicas, reason: result });
      const modal = pools.find(({ id, platform }) => id === pool && platform === "modal");
      if (result !== "planOnly" || modal === undefined || printed.get(pool) === replicas) return;
      printed.set(pool, replicas);
      log("info", "scaler_command", { pool, replicas, plan: modalCommand(modal, replicas) });
    },
    leads(given) {
      token = given;
      log("info", given === null ? "scaler_lease_lost" : "scaler_leads", {
        ...(given === null ? {} : { count: given }),
      });
    },
  };
  return observer;
}

/** The demand meter of a cell, and its region's scaler where the topology has one. */
export function createCellScaling(options: CellScalingOptions): CellScaling {
  const { boot, clock, config, metrics, monotonicMs, platforms, store } = options;
  const { cell, topology } = config;
  const meter = createMeter(options);
  metrics.gauge(
    "meridian_offered_work_seconds",
    "Replica-seconds offered since the start, by model and class; a turn counts at its first-choice cell.",
    (gauge) => {
      for (const { model, priority, seconds } of meter.offered())
        gauge.set({ model, class: priority }, seconds);
    },
  );
  const scaling = topology.scaling.get(cell.region);
  if (scaling === undefined || store === null) {
    return { meter, plans: () => [], start: () => async () => {} };
  }
  const nowMs = (): number => clock.nowMs();
  const scaler: Scaler = createScaler({
    cell: cell.id,
    cellsOf: (model) => cellsOf(topology, cell, model),
    fixedShards: fixedShards(topology, cell),
    scaling,
    store,
    lease: createLeaseKeeper({
      store,
      holder: `${cell.id}/${boot}`,
      nowMs,
      monotonicMs,
      policy: defaultLeasePolicy,
    }),
    meter,
    isOwn: (shard) => config.shards.some(({ description }) => description.id === shard),
    preload: options.preload,
    platformOf: (pool) => platforms.of(pool),
    nowMs,
    monotonicMs,
    policy: {
      ...defaultScalePolicy,
      forecastStepMs: 1_000 * scaling.forecastStepSeconds,
      plan: { ...defaultScalePolicy.plan, shrinkWindowMs: 1_000 * scaling.shrinkAfterSeconds },
    },
    observer: createObserver(options, scaling.pools, () => scaler.plans()),
  });
  return {
    meter,
    plans: () => scaler.plans(),
    start() {
      const stop = clock.every(scalerTickMs, () => void scaler.tick());
      return async () => {
        stop();
        await scaler.stop();
        platforms.close();
      };
    },
  };
}
