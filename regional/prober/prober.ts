import type { ShardId } from "#shared/residency/brands.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine, ProbeResult } from "../ports/engine.ts";

/** How often each shard is asked, and how long it may take, ms. */
export interface ProberPolicy {
  readonly periodMs: number;
  readonly timeoutMs: number;
}

/** Every 2 s with 1 s to answer: a shard that is gone is known before three calls fail. */
export const defaultProberPolicy: ProberPolicy = { periodMs: 2_000, timeoutMs: 1_000 };

/** Asks each shard whether it lives; one question per shard at a time. */
export interface Prober {
  /** Asks all shards now; resolves when all have answered or failed to. */
  probeAll(): Promise<void>;
  /** Begins to ask; returns the stop. */
  start(): () => void;
}

export interface ProberOptions {
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly clock: Clock;
  readonly policy: ProberPolicy;
  readonly onResult: (shard: ShardId, result: ProbeResult) => void;
}

/** The prober of one cell. */
export function createProber({ clock, engines, onResult, policy }: ProberOptions): Prober {
  const asking = new Set<ShardId>();

  async function probe(shard: ShardId, engine: Engine): Promise<void> {
    if (asking.has(shard)) return;
    asking.add(shard);
    const result = await engine.probe(policy.timeoutMs);
    asking.delete(shard);
    onResult(shard, result);
  }

  async function probeAll(): Promise<void> {
    await Promise.all([...engines].map(([shard, engine]) => probe(shard, engine)));
  }

  return {
    probeAll,
    start() {
      void probeAll();
      return clock.every(policy.periodMs, () => void probeAll());
    },
  };
}
