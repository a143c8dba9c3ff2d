import { describe, it } from "vitest";
import { createLevelSource } from "#regional/overload/level-source.ts";
import type { ShardStatus } from "#regional/scheduler/shard-book.ts";
import { HandClock } from "#test/support/hand-clock.ts";

function aShard(id: string, changes: Partial<ShardStatus> = {}): ShardStatus {
  return {
    id,
    model: "m",
    breaker: "closed",
    weight: 1,
    inFlight: 0,
    concurrentRequestsMax: 10,
    promptTokens: 0,
    saturation: 0,
    isDraining: false,
    isUsable: true,
    life: { lifecycle: "ready", reason: "answers", readyInMs: 0 },
    ...changes,
  } as unknown as ShardStatus;
}

function aSource() {
  const clock = new HandClock();
  const world = { shards: [aShard("a"), aShard("b"), aShard("c")], queueDelay: 0 };
  const changes: [number, string][] = [];
  const source = createLevelSource({
    statuses: () => world.shards,
    queueDelay: () => world.queueDelay,
    clock,
    onChange: (level, reason) => changes.push([level, reason]),
  });
  clock.every(100, () => source.tick());
  return { clock, world, source, changes };
}

describe("a cell's level", () => {
  it("rises when shards are lost, and says so once", ({ expect }) => {
    const { changes, clock, source, world } = aSource();
    clock.move(1_000);
    world.shards = [aShard("a"), aShard("b"), aShard("c", { isUsable: false })];
    clock.move(10_000);
    expect(source.level()).toBe(2);
    expect(changes).toEqual([[2, "healthyShare"]]);
  });

  it("does not rise for shards that were never there yet, nor for those that warm up", ({
    expect,
  }) => {
    const { clock, source, world } = aSource();
    world.shards = [aShard("a", { isUsable: false }), aShard("b", { weight: 0.1 })];
    clock.move(60_000);
    expect(source.level()).toBe(0);
  });

  it("does not count what an operator drains", ({ expect }) => {
    const { clock, source, world } = aSource();
    clock.move(1_000);
    world.shards = [aShard("a"), aShard("b", { isDraining: true, isUsable: false })];
    clock.move(60_000);
    expect(source.level()).toBe(0);
  });

  it("measures the load against what is healthy", ({ expect }) => {
    const { clock, source, world } = aSource();
    world.shards = [aShard("a", { inFlight: 8 }), aShard("b", { weight: 0.5, inFlight: 4 })];
    clock.move(60_000);
    expect(source.inputs().saturation).toBeCloseTo(0.8, 2);
  });

  it("rises with the queue, and with our own failures but not with refusals", ({ expect }) => {
    const { clock, source, world } = aSource();
    world.queueDelay = 0.6;
    clock.move(6_000);
    expect(source.level()).toBe(2);
    world.queueDelay = 0;
    for (let index = 0; index < 200; index += 1) {
      clock.move(100);
      source.ended({ error: { code: "saturated", message: "" } });
      source.ended({ error: null });
    }
    expect(source.level()).toBe(2);
    for (let index = 0; index < 100; index += 1) {
      clock.move(100);
      source.ended({ error: { code: "upstream_invalid", message: "" } });
    }
    expect(source.level()).toBe(3);
  });
});
