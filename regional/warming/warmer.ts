import type { ModelDescription, ShardDescription } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import { nextWakeMs } from "#shared/warming/next-wake.ts";
import { planWarming } from "#shared/warming/plan-warming.ts";
import type { WarmableShard, WarmingAction } from "#shared/warming/plan-warming.ts";
import type { WarmQuota } from "#shared/warming/warm-quota.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine } from "../ports/engine.ts";
import type { RandomSource } from "../ports/random.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";
import type { ShardLives } from "./shard-lives.ts";
import { sendWarmingPrompt, warmingPrompt } from "./warming-prompt.ts";

/** How often the plan is made, ms. */
const lookMs = 500;
/** A want that was not repeated in this time is over, ms: prompts that wait repeat it ten times a second. */
const wantedMs = 2_000;
/** A warming prompt may take twice the expected start, within these bounds, ms. */
const promptMsMin = 60_000;
const promptMsMax = 600_000;

/** Starts shards and keeps them up by real one-token prompts: at most one at a time to each. */
export interface Warmer {
  /** Prompts found no room on running shards of the model. */
  wanted(model: string): void;
  /** A forecast wants so many shards of the model warm until then. */
  preload(model: string, shards: number, untilMs: number): void;
  /** Begins to look; returns the stop. */
  start(): () => void;
}

export interface WarmerOptions {
  readonly shards: readonly ShardDescription[];
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly lives: ShardLives;
  readonly models: ReadonlyMap<string, ModelDescription>;
  readonly jurisdiction: string;
  readonly statuses: () => readonly ShardStatus[];
  /** Turns that wait, by model. */
  readonly waiting: () => ReadonlyMap<string, number>;
  /** The cell's share in keeping a model warm. */
  readonly quotaOf: (model: string) => WarmQuota;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly traceparent: () => string;
  readonly metrics: MetricsRegistry;
  readonly log: Log;
  /** A shard has begun to answer: who waits for it may go there. */
  readonly onReady: () => void;
}

/** The warmer of one cell. */
export function createWarmer(options: WarmerOptions): Warmer {
  const { clock, engines, jurisdiction, lives, log, metrics, models, onReady, random } = options;
  const prompts = metrics.counter(
    "meridian_warming_prompts_total",
    "One-token prompts that start a shard or keep it up, by why and how they ended.",
  );
  const tokens = metrics.counter("meridian_warming_tokens_total", "Tokens that those cost.");
  const seconds = metrics.counter("meridian_warming_seconds_total", "Time that those took.");
  const asking = new Set<ShardId>();
  const dueAtMs = new Map<ShardId, number>();
  const wantedAtMs = new Map<string, number>();
  const preloads = new Map<string, { readonly shards: number; readonly untilMs: number }>();
  let count = 0;

  async function ask(shard: ShardDescription, reason: WarmingAction["reason"]): Promise<void> {
    const { id, model } = shard;
    const engine = engines.get(id);
    if (engine === undefined) return;
    asking.add(id);
    count += 1;
    const sentAtMs = clock.nowMs();
    lives.note(id, { kind: "sent" }, sentAtMs);
    if (reason !== "idle") log("info", "shard_woken", { shard: id, reason });
    const result = await sendWarmingPrompt(
      engine,
      warmingPrompt(models.get(model)?.capabilities ?? []),
      {
        requestId: `warming_${count}`,
        traceparent: options.traceparent(),
        jurisdiction,
        timeoutMs: Math.min(promptMsMax, Math.max(promptMsMin, 2 * lives.coldStartMs(id))),
        onSpoke() {
          lives.note(id, { kind: "spoke" }, clock.nowMs());
          onReady();
        },
      },
      clock,
    );
    const nowMs = clock.nowMs();
    if (result.kind === "cold") lives.note(id, { kind: "foundCold" }, nowMs);
    lives.note(id, { kind: "ended" }, nowMs);
    asking.delete(id);
    if (result.kind !== "answered") {
      const { readyInMs } = lives.view(id, false, nowMs);
      const waitMs = nextWakeMs(readyInMs, result.retryAfterMs, () => random.unit());
      dueAtMs.set(id, nowMs + waitMs);
    } else dueAtMs.delete(id);
    prompts.add({ shard: id, reason, result: result.kind });
    tokens.add({ shard: id, kind: "prompt" }, result.usage.promptTokens);
    tokens.add({ shard: id, kind: "completion" }, result.usage.completionTokens);
    seconds.add({ shard: id }, (nowMs - sentAtMs) / 1_000);
  }

  function warmable(shard: ShardDescription, status: ShardStatus, nowMs: number): WarmableShard {
    const { lifecycle, reason } = status.life;
    return {
      id: shard.id,
      purchase: shard.purchase,
      lifecycle,
      hasFailedToStart: reason === "startTimeout",
      coldStartMs: lives.coldStartMs(shard.id),
      scaleToZeroMs:
        shard.scaleToZeroSeconds === undefined ? null : 1_000 * shard.scaleToZeroSeconds,
      idleMs: lives.idleMs(shard.id, nowMs),
      slots: shard.concurrentRequestsMax,
    };
  }

  function look(): void {
    const nowMs = clock.nowMs();
    const statuses = new Map(options.statuses().map((status) => [status.id, status]));
    const waiting = options.waiting();
    for (const model of new Set(options.shards.map((shard) => shard.model))) {
      const own = options.shards.filter((shard) => shard.model === model);
      const isWanted = nowMs - (wantedAtMs.get(model) ?? Number.NEGATIVE_INFINITY) < wantedMs;
      const preload = preloads.get(model);
      const actions = planWarming(
        own.flatMap((shard) => {
          const status = statuses.get(shard.id);
          // What the region's plan does without is its to start.
          const isLeft = status?.life.reason === "scaledDown";
          return status === undefined || isLeft ? [] : [warmable(shard, status, nowMs)];
        }),
        {
          quota: options.quotaOf(model),
          preload: preload !== undefined && nowMs < preload.untilMs ? preload.shards : 0,
          waiting: isWanted ? Math.max(1, waiting.get(model) ?? 0) : 0,
        },
      );
      for (const { reason, shard: id } of actions) {
        const shard = own.find((one) => one.id === id);
        if (shard === undefined || asking.has(id) || nowMs < (dueAtMs.get(id) ?? 0)) continue;
        void ask(shard, reason);
      }
    }
  }

  return {
    wanted(model) {
      const nowMs = clock.nowMs();
      const isNew = nowMs - (wantedAtMs.get(model) ?? Number.NEGATIVE_INFINITY) >= wantedMs;
      wantedAtMs.set(model, nowMs);
      if (isNew) look();
    },
    preload: (model, shards, untilMs) => void preloads.set(model, { shards, untilMs }),
    start: () => clock.every(lookMs, look),
  };
}
