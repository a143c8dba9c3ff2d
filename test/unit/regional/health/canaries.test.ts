import { describe, expect, it } from "vitest";
import { createCanaries } from "#regional/health/canaries.ts";
import type { CanaryResult } from "#regional/health/canaries.ts";
import { createPoisonGuard } from "#regional/health/poison-guard.ts";
import { createShardHealth } from "#shared/health/shard-health.ts";
import type { ShardVerdict } from "#shared/health/shard-health.ts";
import type { Engine, EngineCall, EngineSink } from "#regional/ports/engine.ts";
import type { ShardStatus } from "#regional/scheduler/shard-book.ts";
import { plainAbilities } from "#shared/config/engine-abilities.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { noUsage } from "#shared/protocol/usage.ts";

const ids = ["a/0", "a/1", "a/2"] as ShardId[];
const clock = { nowMs: () => 0, every: () => () => {}, after: () => () => {} };
const shards = ids.map(
  (id) => ({ id, model: "m", revision: "r", concurrentRequestsMax: 8 }) as ShardDescription,
);

/** Shards that answer with these words, whatever the prompt. */
function aFleet(words: Readonly<Record<string, string>>) {
  const calls: (readonly [ShardId, EngineCall])[] = [];
  const engines = new Map<ShardId, Engine>(
    ids.map((shard) => [
      shard,
      {
        shard,
        run(call: EngineCall, sink: EngineSink) {
          calls.push([shard, call]);
          sink.events([
            { kind: "delta", choice: 0, text: words[shard] ?? "", finishReason: "length" },
            { kind: "usage", usage: { ...noUsage, promptTokens: 5, completionTokens: 16 } },
            { kind: "done" },
          ]);
          return Promise.resolve(null);
        },
        continuationAbility: () => "none" as const,
        abilities: () => ({ abilities: plainAbilities, source: "stated" as const }),
        probe: () => Promise.resolve({ ok: true as const }),
        close: () => {},
      },
    ]),
  );
  const changes: ShardVerdict[] = [];
  const results: CanaryResult[] = [];
  const health = createShardHealth({ shards, onChange: (verdict) => void changes.push(verdict) });
  const busy = new Set<ShardId>();
  const broken = new Set<ShardId>();
  const dead = new Set<ShardId>();
  const canaries = createCanaries({
    engines,
    statuses: () =>
      ids.map(
        (id) =>
          ({
            id,
            model: "m",
            breaker: broken.has(id) ? "open" : "closed",
            isAlive: !dead.has(id),
            isDraining: false,
            saturation: busy.has(id) ? 0.9 : 0,
          }) as ShardStatus,
      ),
    isChat: () => true,
    jurisdiction: "eu",
    clock,
    traceparent: () => "t",
    canaried: (shard, prompt, answer) => health.canaried(shard, prompt, answer),
    onResult: (result) => void results.push(result),
  });
  return { broken, busy, dead, calls, canaries, changes, health, results };
}

describe("the canaries of a cell", () => {
  it("take out the shard whose answers are wrong, and no other", async () => {
    const { canaries, changes, health } = aFleet({ "a/0": "x y", "a/1": "x y", "a/2": "x z" });
    for (let count = 0; count < 6; count += 1) await canaries.next();
    health.tick(1_000);
    expect(ids.map((id) => health.weightOf(id))).toStrictEqual([1, 1, 0]);
    expect(changes).toStrictEqual([{ id: "a/2", weight: 0, signal: "canary" }]);
  });

  it("go round the shards with one prompt, as a tenant of their own, short and always the same", async () => {
    const { calls, canaries, results } = aFleet({});
    for (let count = 0; count < 4; count += 1) await canaries.next();
    expect(calls.map(([shard]) => shard)).toStrictEqual(["a/0", "a/1", "a/2", "a/0"]);
    const bodies = calls.map(([, { body }]) => JSON.stringify(body));
    expect(new Set(bodies.slice(0, 3)).size).toBe(1);
    expect(bodies[3]).not.toBe(bodies[0]);
    expect(calls[0]?.[1]).toMatchObject({
      tenant: "meridian-canary",
      body: { temperature: 0, max_tokens: 16 },
    });
    expect(results[0]).toMatchObject({ promptTokens: 5, completionTokens: 16 });
  });

  it("ask a shard whose breaker is open, unless it does not even say that it lives", async () => {
    const { broken, calls, canaries, dead } = aFleet({});
    broken.add(ids[0] as ShardId);
    for (let count = 0; count < 3; count += 1) await canaries.next();
    expect(calls.map(([shard]) => shard)).toStrictEqual(["a/0", "a/1", "a/2"]);
    dead.add(ids[0] as ShardId);
    for (let count = 0; count < 3; count += 1) await canaries.next();
    expect(calls.slice(3).map(([shard]) => shard)).not.toContain("a/0");
  });

  it("spare a shard that is nearly full", async () => {
    const { busy, calls, canaries } = aFleet({});
    busy.add(ids[0] as ShardId);
    for (let count = 0; count < 4; count += 1) await canaries.next();
    expect(calls.map(([shard]) => shard)).toStrictEqual(["a/1", "a/2", "a/1", "a/2"]);
  });
});

describe("a shard's health", () => {
  it("is taken in by slow answers and comes back with usual ones", () => {
    const { health } = aFleet({});
    const traits = { tokens: 100, repeatedShare: 0, isValid: true };
    const answer = (ms: number, from: number, seconds: number): void => {
      for (let nowMs = from; nowMs < from + seconds * 1_000; nowMs += 500) {
        for (const id of ids) {
          const secondsPerToken = id === "a/0" ? ms / 1_000 : 0.02;
          health.answered(id, { isSuccess: true, secondsPerToken, batch: 4, traits }, nowMs);
        }
      }
      health.tick(from + seconds * 1_000);
    };
    answer(20, 0, 60);
    expect(health.weightOf(ids[0] as ShardId)).toBe(1);
    answer(45, 60_000, 60);
    expect(health.weightOf(ids[0] as ShardId)).toBeLessThan(0.7);
    expect(health.weightOf(ids[1] as ShardId)).toBe(1);
    answer(20, 120_000, 60);
    expect(health.weightOf(ids[0] as ShardId)).toBe(1);
  });
});

describe("a prompt that ends shards", () => {
  const engine = { path: "chat/completions", model: "m", body: { messages: [] } } as never;
  const prompt = { tenant: "acme", engine } as never;

  function aGuard(alive: (shard: ShardId) => boolean) {
    const quarantined: ShardId[] = [];
    const guard = createPoisonGuard({
      engines: new Map(
        ids.map((id) => [
          id,
          {
            probe: () =>
              Promise.resolve(
                alive(id) ? ({ ok: true } as const) : ({ ok: false, reason: "x" } as const),
              ),
          },
        ]),
      ),
      clock,
      keyHex: "a".repeat(64),
      onQuarantined: (shard) => void quarantined.push(shard),
    });
    return { guard, quarantined };
  }

  it("is refused once two are dead of it", async () => {
    const { guard, quarantined } = aGuard(() => false);
    await guard.suspect(prompt, ids[0] as ShardId);
    expect(guard.isQuarantined(prompt)).toBe(false);
    await guard.suspect(prompt, ids[1] as ShardId);
    expect(guard.isQuarantined(prompt)).toBe(true);
    expect(guard.isQuarantined({ tenant: "globex", engine } as never)).toBe(false);
    expect(quarantined).toStrictEqual([ids[1]]);
  });

  it("is not refused for shards that live: their connections broke of something else", async () => {
    const { guard } = aGuard((shard) => shard !== ids[0]);
    for (const id of ids) await guard.suspect(prompt, id);
    expect(guard.isQuarantined(prompt)).toBe(false);
  });
});
