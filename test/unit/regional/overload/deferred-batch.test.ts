import { describe, it } from "vitest";
import { deferBatch } from "#regional/overload/deferred-batch.ts";
import { gatePrewarm } from "#regional/overload/prewarm-gate.ts";
import type { Prewarmer } from "#regional/scheduler/prewarmer.ts";
import type { Scheduler, SlotReply, SlotRequest } from "#regional/scheduler/scheduler.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import { HandClock } from "#test/support/hand-clock.ts";

function aWorld() {
  const clock = new HandClock();
  const world: { level: DegradationLevel; hasRoom: boolean } = { level: 1, hasRoom: false };
  const asked: string[] = [];
  const left: string[] = [];
  const inner = {
    acquire(request: SlotRequest, reply: (reply: SlotReply) => void) {
      asked.push(request.affinityKey);
      reply({ kind: "chosen", slot: {} as never, rejected: [], queueWaitMs: 5 });
      return () => void left.push(request.affinityKey);
    },
    drain: () => undefined,
  } as unknown as Scheduler;
  const scheduler = deferBatch({
    scheduler: inner,
    clock,
    level: () => world.level,
    hasRoom: () => world.hasRoom,
  });
  clock.every(100, () => scheduler.tick());
  const replies: [string, SlotReply][] = [];
  const ask = (affinityKey: string, priority: SlotRequest["priority"], deadlineMs = 1e9) => {
    const request = { affinityKey, priority, deadlineMs } as SlotRequest;
    return scheduler.acquire(request, (reply) => replies.push([affinityKey, reply]));
  };
  return { clock, world, asked, left, scheduler, replies, ask };
}

describe("batch that is kept back", () => {
  it("waits while the cell has no room, and others pass", ({ expect }) => {
    const { ask, asked, clock, replies, world } = aWorld();
    ask("b1", "batch");
    ask("b2", "batch");
    ask("i", "interactive");
    clock.move(2_000);
    expect(asked).toEqual(["i"]);
    world.hasRoom = true;
    clock.move(100);
    expect(asked).toEqual(["i", "b1", "b2"]);
    expect(replies[1]?.[1]).toMatchObject({ kind: "chosen", queueWaitMs: 2_105 });
  });

  it("passes at level 0", ({ expect }) => {
    const { ask, asked, world } = aWorld();
    world.level = 0;
    ask("b", "batch");
    expect(asked).toEqual(["b"]);
  });

  it("is told to come back after its class's wait, or at its deadline", ({ expect }) => {
    const { ask, clock, replies, scheduler } = aWorld();
    ask("late", "batch", clock.nowMs() + 1_000);
    ask("long", "batch");
    clock.move(1_100);
    expect(replies).toMatchObject([["late", { kind: "none", reason: "queueTimeout" }]]);
    clock.move(30_000);
    expect(replies[1]).toMatchObject(["long", { reason: "queueTimeout", retryAfterMs: 30_000 }]);
    expect(scheduler.deferredCount()).toBe(0);
  });

  it("is bounded, and leaves when nobody waits for it any more", ({ expect }) => {
    const { ask, asked, clock, left, replies, scheduler, world } = aWorld();
    const leave = ask("first", "batch");
    for (let index = 1; index < 1_024; index += 1) ask(`b${index}`, "batch");
    ask("over", "batch");
    expect(replies).toMatchObject([["over", { kind: "none", reason: "queueFull" }]]);
    leave();
    expect(scheduler.deferredCount()).toBe(1_023);
    world.hasRoom = true;
    const leaveLater = ask("last", "batch");
    clock.move(100);
    expect(asked).toHaveLength(1_024);
    leaveLater();
    expect(left).toEqual(["last"]);
  });

  it("is answered when the cell drains", ({ expect }) => {
    const { ask, replies, scheduler } = aWorld();
    ask("b", "batch");
    scheduler.drain();
    expect(replies).toMatchObject([["b", { kind: "none", reason: "draining" }]]);
  });
});

describe("computing ahead", () => {
  it("stops from level 1 on", async ({ expect }) => {
    let level: DegradationLevel = 0;
    const inner = {
      warm: () => Promise.resolve({ kind: "unavailable", reason: "x" }),
    } as unknown as Prewarmer;
    const gated = gatePrewarm(inner, () => level);
    expect((await gated.warm({} as never, "")).kind).toBe("unavailable");
    level = 1;
    expect(await gated.warm({} as never, "")).toMatchObject({ kind: "limited" });
  });
});
