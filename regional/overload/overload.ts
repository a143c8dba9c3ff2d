import type { CellDescription, Topology } from "#shared/config/topology.ts";
import { defaultDegradePolicy } from "#shared/overload/degrade-policy.ts";
import type { LevelPolicy } from "#shared/overload/level-policy.ts";
import { hasBatchRoom } from "#shared/overload/level-switches.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { RandomSource } from "../ports/random.ts";
import type { Scheduler, TenantShares } from "../scheduler/scheduler.ts";
import type { TurnGuards } from "../turns/turn-guards.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";
import { createDegrader } from "./degrader.ts";
import type { DegradeTurn } from "./degrader.ts";
import { deferBatch } from "./deferred-batch.ts";
import type { DeferringScheduler } from "./deferred-batch.ts";
import { createTurnGuards } from "./guards.ts";
import { createLevelSource } from "./level-source.ts";
import type { LevelSource } from "./level-source.ts";
import { registerOverloadGauges } from "./overload-gauges.ts";
import { createThrottleMeter } from "./throttle-meter.ts";
import type { ThrottleMeter } from "./throttle-meter.ts";
import { watchQueue } from "./queue-watch.ts";

/** What a cell does about too much work. */
export interface Overload {
  readonly level: LevelSource;
  /** The cell's scheduler, watched, with batch kept back where the level asks for it. */
  readonly scheduler: DeferringScheduler;
  readonly degrade: DegradeTurn;
  readonly guards: TurnGuards;
  readonly throttle: ThrottleMeter;
  /** A turn has ended. */
  ended(request: TurnRequest, outcome: Pick<TurnOutcome, "error" | "shard">): void;
  /** Call ten times a second. */
  tick(): void;
}

export interface OverloadOptions {
  readonly cell: CellDescription;
  readonly topology: Topology;
  readonly statuses: () => readonly ShardStatus[];
  readonly scheduler: Scheduler & TenantShares;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly metrics: MetricsRegistry;
  readonly log: Log;
  readonly levelPolicy?: LevelPolicy;
  /** The level has changed: it is worth publishing. */
  readonly onLevel: () => void;
}

/** Wires level, queue and actions of one cell. */
export function createOverload(options: OverloadOptions): Overload {
  const { cell, clock, levelPolicy, log, metrics, onLevel, random, statuses, topology } = options;
  const watched = watchQueue(options.scheduler, clock);
  const changes = metrics.counter(
    "meridian_overload_level_changes_total",
    "Changes of the degradation level, by the new level and what caused it.",
  );
  const level = createLevelSource({
    statuses,
    queueDelay: () => watched.queueDelay(),
    clock,
    ...(levelPolicy === undefined ? {} : { policy: levelPolicy }),
    onChange(changed, reason) {
      changes.add({ level: String(changed), cause: reason });
      log(changed === 0 ? "info" : "warn", "level_changed", { count: changed, reason });
      onLevel();
    },
  });
  const scheduler = deferBatch({
    scheduler: watched,
    clock,
    level: () => level.level(),
    hasRoom: () => hasBatchRoom(level.now(), defaultDegradePolicy),
  });
  registerOverloadGauges(metrics, { level, deferredCount: () => scheduler.deferredCount() });
  const { id, jurisdiction } = cell;
  const throttle = createThrottleMeter(clock);
  const guards = createTurnGuards({ level, clock, random, metrics });
  const degrade = createDegrader({
    cell: id,
    jurisdiction,
    topology,
    level,
    statuses,
    shares: options.scheduler,
    random,
    metrics,
  });
  return {
    level,
    scheduler,
    guards: {
      ...guards,
      dispatched(request) {
        throttle.taken(request);
        guards.dispatched(request);
      },
    },
    throttle,
    degrade(request) {
      const verdict = degrade(request);
      if (verdict.kind === "refused") throttle.refused(request);
      return verdict;
    },
    ended(request, outcome) {
      level.ended(outcome);
      const isShed = outcome.error?.code === "saturated" && outcome.shard === null;
      if (isShed) throttle.refused(request);
    },
    tick() {
      level.tick();
      scheduler.tick();
    },
  };
}
