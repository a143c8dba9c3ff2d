import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import { shardLifecycles } from "#shared/warming/shard-lifecycle.ts";
import { warmQuotas } from "#shared/warming/warm-quota.ts";
import type { WarmQuota } from "#shared/warming/warm-quota.ts";
import type { CellConfig } from "../config.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine } from "../ports/engine.ts";
import type { RandomSource } from "../ports/random.ts";
import type { Warmth } from "../scheduler/cell-scheduler.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";
import { createNeighbours } from "./neighbours.ts";
import { createShardLives } from "./shard-lives.ts";
import type { ShardLives } from "./shard-lives.ts";
import { createWarmer } from "./warmer.ts";
import type { Warmer } from "./warmer.ts";

/** Bounds of cold starts, seconds: from a warm container to a new instance without a cache. */
const startBounds = [1, 2.5, 5, 10, 20, 40, 70, 120, 180, 260, 360, 525, 900];
/** A canary keeps a shard up that its platform would take down: only shards that customers asked this lately are asked, ms. */
const canaryIdleMsMax = 60_000;

const nothing: WarmQuota = { critical: 0, interactive: 0, standard: 0, batch: 0 };

/** All that a cell knows and does about cold shards. */
export interface CellWarming {
  readonly lives: ShardLives;
  readonly warmth: Warmth;
  /** Whether its health may be asked about from outside its prompts: that would keep a serverless shard up. */
  mayProbe(shard: ShardId): boolean;
  mayCanary(status: ShardStatus): boolean;
  /** Starts to keep shards warm; call once the book and the scheduler are there. */
  attach(parts: AttachedParts): Warmer;
}

interface AttachedParts {
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly statuses: () => readonly ShardStatus[];
  readonly waiting: () => ReadonlyMap<string, number>;
  readonly onReady: () => void;
}

export interface CellWarmingOptions {
  readonly config: CellConfig;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly traceparent: () => string;
  readonly metrics: MetricsRegistry;
  readonly log: Log;
}

/** Wires the lives, the neighbours and the warmer of one cell. */
export function createCellWarming(options: CellWarmingOptions): CellWarming {
  const { clock, config, log, metrics } = options;
  const { cell, topology } = config;
  const own = topology.jurisdictions.get(cell.jurisdiction);
  const shards = config.shards.map(({ description }) => description);
  const starts = metrics.histogram(
    "meridian_cold_start_seconds",
    "From the first prompt to a cold shard until it answered.",
    startBounds,
  );
  const lives = createShardLives({
    shards,
    nowMs: () => clock.nowMs(),
    onStarted(shard, startedInMs) {
      starts.observe({ shard }, startedInMs / 1_000);
      log("info", "shard_started", { shard, durationMs: startedInMs });
    },
  });
  const quotas = quotasOf(config);
  const neighbours = createNeighbours({
    healthKv: config.healthKv,
    cells: (own?.cells ?? []).filter(({ id }) => id !== cell.id),
    shards: (own?.shards ?? []).filter((shard) => shard.cell !== cell.id),
    keepsWarm: (id, model) => {
      const quota = quotas.get(model)?.get(id) ?? nothing;
      return priorities.some((priority) => quota[priority] > 0);
    },
    nowMs: () => clock.nowMs(),
  });
  let warmer: Warmer | null = null;

  return {
    lives,
    warmth: {
      wanted: (model) => warmer?.wanted(model),
      hasWarmNeighbour: (model) => neighbours.hasWarm(model),
    },
    mayProbe: (shard) => !lives.isServerless(shard),
    mayCanary: ({ id, life }) =>
      life.lifecycle !== "cold" &&
      life.lifecycle !== "warming" &&
      life.reason !== "scaledDown" &&
      (!lives.isServerless(id) || lives.idleMs(id, clock.nowMs()) < canaryIdleMsMax),
    attach({ engines, onReady, statuses, waiting }) {
      metrics.gauge("meridian_shard_state", "1 for the state that a shard is in.", (gauge) => {
        for (const { id, life } of statuses()) {
          for (const state of shardLifecycles) {
            gauge.set({ shard: id, state }, life.lifecycle === state ? 1 : 0);
          }
        }
      });
      metrics.gauge(
        "meridian_shard_ready_in_seconds",
        "Expected time until a cold or warming shard answers, once it is asked.",
        (gauge) => {
          for (const { id, life } of statuses()) {
            if (life.readyInMs !== null) gauge.set({ shard: id }, life.readyInMs / 1_000);
          }
        },
      );
      const { random, traceparent } = options;
      warmer = createWarmer({
        shards,
        engines,
        lives,
        models: own?.models ?? new Map(),
        jurisdiction: cell.jurisdiction,
        statuses,
        waiting,
        quotaOf: (model) => quotas.get(model)?.get(cell.id) ?? nothing,
        clock,
        random,
        traceparent,
        metrics,
        log,
        onReady,
      });
      return warmer;
    },
  };
}

/** Each model's shares by cell. */
function quotasOf({
  cell,
  topology,
}: CellConfig): ReadonlyMap<string, ReadonlyMap<string, WarmQuota>> {
  const own = topology.jurisdictions.get(cell.jurisdiction);
  if (own === undefined) return new Map();
  const tenants = [...topology.tenants.values()].filter(
    ({ jurisdiction }) => jurisdiction === own.id,
  );
  // A tenant's class is a ceiling: a less important one may be asked for, but what it pays for is its own.
  const contracted = new Set<Priority>(tenants.map(({ priority }) => priority));
  return new Map(
    [...own.models].map(([model, { warmShardsMin = {} }]) => {
      const shards = own.shards.filter((shard) => shard.model === model);
      const cells = own.cells.flatMap(({ id, region }) => {
        const place = topology.regions.get(region);
        return place === undefined ? [] : [{ id, region, place }];
      });
      return [model, warmQuotas({ cells, shards, warmShardsMin, contracted })];
    }),
  );
}
