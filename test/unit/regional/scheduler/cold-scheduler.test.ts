import { describe, it } from "vitest";
import { aSchedulerRun, askForSlot, slotOf } from "#test/support/scheduler-run.ts";

/** Shards `a` and `b`; those named are cold, and would need `readyInMs`. */
function aColdRun(cold: readonly string[], readyInMs: number, neighbour = false) {
  const world = { cold: new Set(cold), wanted: 0 };
  const run = aSchedulerRun({
    shards: ["a", "b"],
    lives: {
      note: () => {},
      view: (shard) =>
        world.cold.has(shard)
          ? { lifecycle: "cold", reason: "idle", readyInMs }
          : { lifecycle: "ready", reason: "answers", readyInMs: 0 },
    },
    options: {
      warmth: { wanted: () => void (world.wanted += 1), hasWarmNeighbour: () => neighbour },
    },
  });
  for (const { id } of run.book.statuses(run.clock.nowMs())) {
    run.book.probed(id, { ok: true }, run.clock.nowMs());
  }
  return { ...run, world };
}

describe("a turn that finds only cold shards", () => {
  it("waits for longer than its class may wait for a slot, and is served when one runs", ({
    expect,
  }) => {
    const run = aColdRun([], 20_000);
    // A model that has answered before: its long queues are cut.
    slotOf(askForSlot(run)).release({ kind: "succeeded" }, { tokens: 1, prompt: null });
    run.world.cold = new Set(["a", "b"]);
    const told: number[] = [];
    const turns = [1, 2].map(() =>
      askForSlot(run, { deadlineMs: 1e9, onColdWait: (expectedMs) => void told.push(expectedMs) }),
    );
    expect(told).toStrictEqual([20_000, 20_000]);
    for (let second = 0; second < 25; second += 1) {
      run.clock.move(1_000);
      run.scheduler.wake();
    }
    expect(turns.map(({ replies }) => replies.length)).toStrictEqual([0, 0]);
    run.world.cold.clear();
    run.scheduler.wake();
    for (const turn of turns) {
      expect(turn.replies).toMatchObject([
        { kind: "chosen", isColdWait: true, queueWaitMs: 25_000 },
      ]);
    }
    expect(turns.map((turn) => slotOf(turn).shard).toSorted()).toStrictEqual(["a", "b"]);
  });

  it("is refused when it waited three times the expected start, and told when to come back", ({
    expect,
  }) => {
    const run = aColdRun(["a", "b"], 20_000);
    const turn = askForSlot(run, { deadlineMs: 1e9 });
    run.clock.move(59_999);
    expect(turn.replies).toStrictEqual([]);
    run.clock.move(1);
    expect(turn.replies).toMatchObject([{ kind: "none", reason: "cold", retryAfterMs: 20_000 }]);
  });

  it("asks for a start while it waits, and not when another cell takes it", ({ expect }) => {
    const waiting = aColdRun(["a", "b"], 20_000, true);
    askForSlot(waiting, { deadlineMs: 1e9 });
    waiting.scheduler.wake();
    expect(waiting.world.wanted).toBeGreaterThan(1);
    const moved = aColdRun(["a", "b"], 20_000, true);
    const turn = askForSlot(moved, { deadlineMs: 1e9, mayMove: true });
    expect(turn.replies).toMatchObject([{ kind: "none", reason: "cold" }]);
    expect(moved.world.wanted).toBe(0);
  });
});

describe("a turn that finds running shards full and others cold", () => {
  it.for([
    ["interactive", 1],
    ["batch", 0],
  ] as const)("waits for a slot; a start is asked for %s: %i", ([priority, starts], { expect }) => {
    const run = aColdRun(["b"], 20_000);
    expect(slotOf(askForSlot(run, { deadlineMs: 1e9 })).shard).toBe("a");
    const told: number[] = [];
    askForSlot(run, {
      priority,
      deadlineMs: 1e9,
      onColdWait: (expectedMs) => void told.push(expectedMs),
    });
    expect(told).toStrictEqual([]);
    expect(Math.min(1, run.world.wanted)).toBe(starts);
  });
});

describe("a shard that the region's plan does without", () => {
  const scaledDown = { lifecycle: "cold", reason: "scaledDown", readyInMs: null } as const;
  const ready = { lifecycle: "ready", reason: "answers", readyInMs: 0 } as const;

  function aScaledRun(left: readonly string[]) {
    let wanted = 0;
    const run = aSchedulerRun({
      shards: ["a", "b"],
      lives: { note: () => {}, view: (shard) => (left.includes(shard) ? scaledDown : ready) },
      options: { warmth: { wanted: () => void (wanted += 1), hasWarmNeighbour: () => false } },
    });
    for (const { id } of run.book.statuses(run.clock.nowMs())) {
      run.book.probed(id, { ok: true }, run.clock.nowMs());
    }
    return { ...run, wanted: () => wanted };
  }

  it("is never chosen, and counts as no room", ({ expect }) => {
    const run = aScaledRun(["b"]);
    expect(slotOf(askForSlot(run)).shard).toBe("a");
    const second = askForSlot(run);
    expect(second.replies).toStrictEqual([]);
    expect(run.book.statuses(run.clock.nowMs()).map(({ isUsable }) => isUsable)).toStrictEqual([
      true,
      false,
    ]);
  });

  it("is started for no prompt, nor waited for", ({ expect }) => {
    const run = aScaledRun(["a", "b"]);
    expect(askForSlot(run).replies).toMatchObject([{ kind: "none", reason: "unhealthy" }]);
    expect(run.wanted()).toBe(0);
  });
});
