import type { ShardId } from "#shared/residency/brands.ts";
import type { EngineLoad } from "#shared/routing/engine-load.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine } from "../ports/engine.ts";
import type { OwnCounters } from "#shared/routing/foreign-load.ts";

/** How often shards are asked for their load, and how long they may take, ms. */
const periodMs = 1_000;
const timeoutMs = 900;
/** How long a shard is left alone that has no metrics, ms: it may be another engine after a restart. */
const withoutMetricsMs = 30_000;

/** Reads the metrics of each shard's engine each second; one question per shard at a time. */
export interface LoadScraper {
  /** Asks all that are due; resolves when all have answered or failed to. */
  scrapeAll(): Promise<void>;
  /** Begins to ask; returns the stop. */
  start(): () => void;
}

export interface LoadScraperOptions {
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly clock: Clock;
  /** What the cell has on the shard now. */
  readonly own: (shard: ShardId) => OwnCounters;
  /**
   * `own` is the most that the cell had on the shard while it was asked: requests in between are nobody else's. Null: the
   * shard has no metrics. Not called when it did not answer.
   */
  readonly onLoad: (shard: ShardId, load: EngineLoad | null, own: OwnCounters) => void;
}

/** The scraper of one cell. */
export function createLoadScraper({
  clock,
  engines,
  onLoad,
  own,
}: LoadScraperOptions): LoadScraper {
  const asking = new Set<ShardId>();
  const dueAtMs = new Map<ShardId, number>();

  async function scrape(shard: ShardId, engine: Engine): Promise<void> {
    if (engine.load === undefined || asking.has(shard)) return;
    if (clock.nowMs() < (dueAtMs.get(shard) ?? 0)) return;
    asking.add(shard);
    const before = own(shard);
    const reply = await engine.load(timeoutMs);
    asking.delete(shard);
    if (reply === "failed") return;
    if (reply === "none") dueAtMs.set(shard, clock.nowMs() + withoutMetricsMs);
    const after = own(shard);
    onLoad(shard, reply === "none" ? null : reply, {
      inFlight: Math.max(before.inFlight, after.inFlight),
      kvTokens: Math.max(before.kvTokens, after.kvTokens),
    });
  }

  async function scrapeAll(): Promise<void> {
    await Promise.all([...engines].map(([shard, engine]) => scrape(shard, engine)));
  }

  return {
    scrapeAll,
    start: () => clock.every(periodMs, () => void scrapeAll()),
  };
}
