import type { CellDescription, ShardDescription } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { CanaryStore } from "../ports/canary-store.ts";
import type { Engine } from "../ports/engine.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";
import { createCanaries } from "./canaries.ts";
import { createReferenceKeeper } from "./reference-keeper.ts";
import { createPoisonGuard } from "./poison-guard.ts";
import type { PoisonGuard } from "./poison-guard.ts";
import { createShardHealth } from "#shared/health/shard-health.ts";
import type { ShardHealth } from "#shared/health/shard-health.ts";

/** How often shards are weighed anew, ms. */
const weighMs = 1_000;

/** What a cell knows of its shards beside their breakers. */
export interface CellHealth {
  readonly shards: ShardHealth;
  readonly poison: PoisonGuard;
  /** Begins to weigh shards and to ask canaries; returns the stop. */
  start(statuses: () => readonly ShardStatus[]): () => void;
}

export interface CellHealthOptions {
  readonly cell: CellDescription;
  readonly shards: readonly ShardDescription[];
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly log: Log;
  readonly keyHex: string;
  /** Where the references of canaries outlive the process; null: nowhere. */
  readonly references: CanaryStore | null;
  readonly isChat: (model: string) => boolean;
  readonly traceparent: () => string;
  /** Between two canaries of the cell, ms; 0: none. */
  readonly canaryPeriodMs: number;
  /** A shard has answered a canary, and not wrongly as far as is known. */
  readonly onAnswered: (shard: ShardId) => void;
  /** A shard was taken out or put back: it is worth publishing. */
  readonly onChange: () => void;
}

/** Wires the health of one cell's shards to its metrics and log. */
export function createCellHealth(options: CellHealthOptions): CellHealth {
  const { canaryPeriodMs, cell, clock, engines, isChat, log, metrics, onAnswered, onChange } =
    options;
  const shards = createShardHealth({
    shards: options.shards,
    onChange({ id, signal, weight }) {
      log(weight === 0 ? "warn" : "info", weight === 0 ? "shard_ejected" : "shard_restored", {
        shard: id,
        reason: signal ?? "whole",
      });
      onChange();
    },
  });
  metrics.gauge(
    "meridian_shard_health_ratio",
    "What a shard's answers leave of its weight, 0 to 1; its signal says why.",
    (gauge) => {
      for (const { id, signal, weight } of shards.verdicts()) {
        gauge.set({ shard: id, signal: signal ?? "whole" }, weight);
      }
    },
  );
  const canaryCount = metrics.counter(
    "meridian_canaries_total",
    "Canary prompts by shard and verdict.",
  );
  const canaryTokens = metrics.counter(
    "meridian_canary_tokens_total",
    "Tokens that canaries cost, prompt and answer.",
  );
  const poisoned = metrics.counter(
    "meridian_prompts_quarantined_total",
    "Prompts that ended two shards and are refused for ten minutes.",
  );
  const poison = createPoisonGuard({
    engines,
    clock,
    keyHex: options.keyHex,
    onQuarantined(shard) {
      poisoned.add({});
      log("error", "prompt_quarantined", { shard });
    },
  });

  const references =
    options.references === null
      ? null
      : createReferenceKeeper({
          store: options.references,
          shards: options.shards,
          health: shards,
          clock,
        });

  return {
    shards,
    poison,
    start(statuses) {
      const canaries = createCanaries({
        engines,
        statuses,
        isChat,
        jurisdiction: cell.jurisdiction,
        clock,
        traceparent: options.traceparent,
        canaried(shard, prompt, answer) {
          const verdict = shards.canaried(shard, prompt, answer);
          if (verdict === "agrees") references?.noted(shard, prompt);
          return verdict;
        },
        onResult({ completionTokens, promptTokens, shard, verdict }) {
          canaryCount.add({ shard, verdict });
          canaryTokens.add({ shard }, promptTokens + completionTokens);
          if (verdict === "agrees" || verdict === "unknown") onAnswered(shard);
          if (verdict === "disagrees") log("warn", "canary_disagrees", { shard });
        },
      });
      const stops = [clock.every(weighMs, () => shards.tick(clock.nowMs()))];
      // Without canaries there is nothing to know or to keep.
      if (references !== null && canaryPeriodMs > 0) stops.push(references.start());
      if (canaryPeriodMs > 0) stops.push(clock.every(canaryPeriodMs, () => void canaries.next()));
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}
