import { abilityNames } from "#shared/config/engine-abilities.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine } from "../ports/engine.ts";
import type { BufferBudget } from "../turns/buffer-budget.ts";
import type { TurnRegistry } from "../turns/turn-registry.ts";
import type { UsageQueue } from "../turns/usage-queue.ts";
import type { CellScheduler } from "./scheduler.ts";
import type { ShardBook } from "./shard-book.ts";

/** Registers what is read when metrics are: shards, queues, buffers. */
export function registerCellGauges(
  metrics: MetricsRegistry,
  parts: {
    readonly book: ShardBook;
    readonly engines: ReadonlyMap<ShardId, Pick<Engine, "abilities">>;
    readonly queue: CellScheduler;
    readonly registry: TurnRegistry;
    readonly budget: BufferBudget;
    readonly usage: UsageQueue;
    readonly clock: Clock;
    readonly cell: string;
    readonly region: string;
  },
): void {
  const { book, budget, clock, engines, queue, registry, usage } = parts;
  metrics.gauge("meridian_shard_in_flight", "Turns on a shard.", (gauge) => {
    for (const { id, inFlight } of book.statuses(clock.nowMs())) gauge.set({ shard: id }, inFlight);
  });
  metrics.gauge("meridian_shard_breaker_state", "1 for the state a breaker is in.", (gauge) => {
    for (const { id, breaker } of book.statuses(clock.nowMs())) {
      gauge.set({ shard: id, state: breaker }, 1);
    }
  });
  metrics.gauge("meridian_shard_weight_ratio", "Health weight of a shard, 0 to 1.", (gauge) => {
    for (const { id, weight } of book.statuses(clock.nowMs())) gauge.set({ shard: id }, weight);
  });
  metrics.gauge(
    "meridian_shard_saturation_ratio",
    "How full a shard is, 1 is full: the worst of slots, KV memory and prefill in front.",
    (gauge) => {
      for (const { id, saturation } of book.statuses(clock.nowMs()))
        gauge.set({ shard: id }, saturation);
    },
  );
  metrics.gauge(
    "meridian_shard_pending_prefill_tokens",
    "Uncached prompt tokens on their way to a first token.",
    (gauge) => {
      for (const { id, pendingPrefillTokens } of book.statuses(clock.nowMs()))
        gauge.set({ shard: id }, pendingPrefillTokens);
    },
  );
  metrics.gauge("meridian_shard_kv_ratio", "Used share of a shard's KV memory.", (gauge) => {
    for (const { id, kvShare } of book.statuses(clock.nowMs())) gauge.set({ shard: id }, kvShare);
  });
  metrics.gauge(
    "meridian_shard_ability",
    "1 for what a shard's engine can do, 0 for what it cannot or is not known to; source says how that is known.",
    (gauge) => {
      for (const [shard, engine] of engines) {
        const { abilities, source } = engine.abilities();
        for (const ability of abilityNames) {
          gauge.set({ shard, ability, source }, abilities[ability] ? 1 : 0);
        }
        gauge.set({ shard, ability: "metrics", source }, abilities.metrics === null ? 0 : 1);
      }
    },
  );
  metrics.gauge("meridian_shard_draining", "1 while a shard takes no new turns.", (gauge) => {
    for (const { id, isDraining } of book.statuses(clock.nowMs())) {
      gauge.set({ shard: id }, isDraining ? 1 : 0);
    }
  });
  metrics.gauge("meridian_queue_turns", "Turns that wait for a shard of a model.", (gauge) => {
    for (const { model, priority, waiting } of queue.queues()) {
      gauge.set({ model, class: priority }, waiting);
    }
  });
  metrics.gauge(
    "meridian_begun_turns_waiting",
    "Begun answers that wait for a shard of a model to come back.",
    (gauge) => {
      for (const [model, count] of queue.patients()) gauge.set({ model }, count);
    },
  );
  metrics.gauge("meridian_queue_oldest_seconds", "Longest wait of a waiting turn.", (gauge) => {
    for (const { model, oldestMs, priority } of queue.queues()) {
      gauge.set({ model, class: priority }, oldestMs / 1_000);
    }
  });
  metrics.gauge(
    "meridian_queue_overloaded",
    "1 while the waits of a class are too long for good: the newest is served first.",
    (gauge) => {
      for (const { isOverloaded, model, priority } of queue.queues()) {
        gauge.set({ model, class: priority }, isOverloaded ? 1 : 0);
      }
    },
  );
  metrics.gauge("meridian_queue_shed_ratio", "Share of the arrivals that is shed.", (gauge) => {
    for (const [model, ratio] of queue.shedRatios()) gauge.set({ model }, ratio);
  });
  metrics.gauge("meridian_running_turns", "Turns that run.", (gauge) => {
    gauge.set({}, registry.runningCount());
  });
  metrics.gauge("meridian_frame_buffer_bytes", "Frames that are kept.", (gauge) => {
    gauge.set({}, budget.usedBytes());
  });
  metrics.gauge(
    "meridian_history_backlog",
    "Usage records that wait for the database.",
    (gauge) => {
      gauge.set({}, usage.waitingCount());
    },
  );
  metrics.gauge("meridian_build_info", "Constant 1, with the place of this cell.", (gauge) => {
    gauge.set({ cell: parts.cell, region: parts.region }, 1);
  });
}
