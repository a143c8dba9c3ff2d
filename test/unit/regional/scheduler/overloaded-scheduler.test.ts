import { describe, it } from "vitest";
import type { SlotRequest } from "#regional/scheduler/scheduler.ts";
import type { RefusalReason } from "#shared/admission/refusal.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { aSchedulerRun, askForSlot, slotOf } from "#test/support/scheduler-run.ts";
import type { AskedTurn, SchedulerChanges, SchedulerRun } from "#test/support/scheduler-run.ts";

const succeeded: TryResult = { kind: "succeeded" };
const nothing = { tokens: 0, prompt: null };

interface Refusal {
  readonly priority: Priority;
  readonly reason: RefusalReason;
}

/** A scheduler whose refusals are kept. */
function aWatchedRun(changes: SchedulerChanges = {}): SchedulerRun & { refusals: Refusal[] } {
  const refusals: Refusal[] = [];
  const run = aSchedulerRun({
    ...changes,
    options: {
      onRefused: (_model, priority, reason) => refusals.push({ priority, reason }),
      ...changes.options,
    },
  });
  return { ...run, refusals };
}

/** Lets `ms` pass as the cell does: waking ten times a second. */
function pass({ clock, scheduler }: SchedulerRun, ms: number, each: () => void = () => {}): void {
  for (let passed = 0; passed < ms; passed += 100) {
    clock.move(100);
    each();
    scheduler.wake();
  }
}

function answer(asked: AskedTurn): string {
  const [reply] = asked.replies;
  return reply === undefined ? "waits" : reply.kind === "chosen" ? "chosen" : reply.reason;
}

const patient = { waitMsMax: { critical: 1e6, interactive: 1e6, standard: 1e6, batch: 1e6 } };

describe("a full queue", () => {
  it("gives a place of the least important class to a more important turn", ({ expect }) => {
    const run = aWatchedRun({ policy: { waitingPerModelMax: 2 } });
    askForSlot(run, { priority: "critical" });
    const standard = askForSlot(run, { priority: "standard" });
    const batch = askForSlot(run, { priority: "batch" });
    const interactive = askForSlot(run, { priority: "interactive" });
    expect([standard, batch, interactive].map(answer)).toEqual(["waits", "shed", "waits"]);
    expect(run.refusals).toEqual([{ priority: "batch", reason: "displaced" }]);
    expect(batch.replies[0]).toMatchObject({ retryAfterMs: expect.any(Number) });
    expect(run.scheduler.waiting().get("m")).toBe(2);
  });

  it("gives a place of the tenant with most of them to one with less, and none the other way", ({
    expect,
  }) => {
    const run = aWatchedRun({ policy: { waitingPerModelMax: 4 } });
    askForSlot(run);
    const flood = [1, 2, 3, 4].map(() => askForSlot(run, { tenant: "flood" }));
    const small = askForSlot(run, { tenant: "small" });
    expect(answer(small)).toBe("waits");
    expect(flood.map(answer).filter((one) => one === "shed")).toHaveLength(1);
    expect(answer(askForSlot(run, { tenant: "flood" }))).toBe("queueFull");
    expect(answer(askForSlot(run, { tenant: "small" }))).toBe("waits");
    expect(answer(askForSlot(run, { tenant: "small" }))).toBe("queueFull");
  });

  it("never ends what runs for what waits", ({ expect }) => {
    const run = aWatchedRun({ policy: { waitingPerModelMax: 1 } });
    const running = askForSlot(run, { priority: "batch" });
    for (let count = 0; count < 20; count += 1) askForSlot(run, { priority: "critical" });
    pass(run, 20_000);
    expect(running.replies).toHaveLength(1);
    expect(run.book.runningOf("m")).toBe(1);
  });
});

describe("early refusal", () => {
  const long: Partial<SlotRequest> = { completionTokensMax: 1_000, priority: "interactive" };

  it("refuses at once what could not be finished behind those that wait, with an honest wait", ({
    expect,
  }) => {
    const run = aWatchedRun({ policy: patient });
    for (let count = 0; count < 20; count += 1) askForSlot(run, { tenant: `t${count}` });
    const late = askForSlot(run, { ...long, deadlineMs: run.clock.nowMs() + 10_000 });
    expect([answer(late), run.refusals.at(-1)?.reason]).toEqual(["queueFull", "predictedLate"]);
    expect(late.replies[0]).toMatchObject({ retryAfterMs: expect.any(Number) });
    const [reply] = late.replies;
    const waitMs = reply?.kind === "none" ? (reply.retryAfterMs ?? 0) : 0;
    expect(waitMs).toBeGreaterThan(5_000);
    expect(waitMs).toBeLessThanOrEqual(60_000);
    expect(answer(askForSlot(run, { ...long, deadlineMs: run.clock.nowMs() + 200_000 }))).toBe(
      "waits",
    );
  });

  it("refuses as too late, not to be tried again, what no shard could even begin in time", ({
    expect,
  }) => {
    const run = aWatchedRun();
    const request = { promptTokensEstimate: 90_000, deadlineMs: run.clock.nowMs() + 20 };
    expect(answer(askForSlot(run, request))).toBe("deadlinePassed");
    expect(run.refusals).toEqual([{ priority: "interactive", reason: "deadlineTooShort" }]);
    expect(run.book.runningOf("m")).toBe(0);
  });

  it("tells work that comes after its deadline from work that cannot meet it", ({ expect }) => {
    const run = aWatchedRun();
    askForSlot(run, { deadlineMs: run.clock.nowMs() });
    askForSlot(run, { deadlineMs: run.clock.nowMs() + 1 });
    expect(run.refusals.map(({ reason }) => reason)).toEqual([
      "deadlinePassed",
      "deadlineTooShort",
    ]);
  });

  it("refuses who would only wait for its class's time to pass", ({ expect }) => {
    const run = aWatchedRun();
    const asked = Array.from({ length: 200 }, () => askForSlot(run));
    const refused = asked.filter((one) => answer(one) === "queueFull");
    expect(refused.length).toBeGreaterThan(50);
    expect(run.refusals.every(({ reason }) => reason === "waitTooLong")).toBe(true);
  });

  it("lets a small tenant wait where a flood is refused", ({ expect }) => {
    const run = aWatchedRun();
    for (let count = 0; count < 200; count += 1) askForSlot(run, { tenant: "flood" });
    expect(answer(askForSlot(run, { tenant: "flood" }))).toBe("queueFull");
    expect(answer(askForSlot(run, { tenant: "small" }))).toBe("waits");
  });
});

describe("a queue that is too long for good", () => {
  /** Half-second answers on one slot, for `ms`; four turns a second come. */
  function overload(run: SchedulerRun, ms: number, priority: Priority): AskedTurn[] {
    const asked: AskedTurn[] = [];
    let tick = 0;
    pass(run, ms, () => {
      tick += 1;
      if (tick % 2 === 0) asked.push(askForSlot(run, { priority, tenant: "t" }));
      if (tick % 5 !== 0) return;
      for (const one of asked.filter((each) => answer(each) === "chosen")) {
        slotOf(one).release(succeeded, nothing);
      }
    });
    return asked;
  }

  it("serves the newest first and drops the longest waiting", ({ expect }) => {
    const run = aWatchedRun({ policy: { ...patient } });
    const asked = overload(run, 15_000, "interactive");
    expect(run.scheduler.queues().find(({ priority }) => priority === "interactive")).toMatchObject(
      {
        isOverloaded: true,
      },
    );
    expect(run.refusals.some(({ reason }) => reason === "longQueue")).toBe(true);
    const waits = asked.flatMap(({ replies: [reply] }) =>
      reply?.kind === "chosen" ? [reply.queueWaitMs] : [],
    );
    expect(Math.min(...waits.slice(-5))).toBeLessThan(1_000);
  });

  it("leaves critical turns in their order, and drops none", ({ expect }) => {
    const run = aWatchedRun({ policy: { ...patient } });
    const asked = overload(run, 15_000, "critical");
    expect(run.refusals).toEqual([]);
    const order = asked.map(answer);
    expect(order.lastIndexOf("chosen")).toBeLessThan(order.indexOf("waits"));
  });

  it("sheds a share of the arrivals, critical ones never, and none once it is over", ({
    expect,
  }) => {
    const run = aWatchedRun({ policy: { ...patient } });
    const asked = overload(run, 60_000, "standard");
    expect(run.scheduler.shedRatios().get("m")).toBeGreaterThan(0);
    expect(run.refusals.some(({ reason }) => reason === "shed")).toBe(true);
    expect(answer(askForSlot(run, { priority: "critical" }))).toBe("waits");
    for (const one of asked) one.cancel();
    for (const one of asked) if (answer(one) === "chosen") slotOf(one).release(succeeded, nothing);
    pass(run, 20_000);
    expect(run.scheduler.shedRatios().get("m")).toBe(0);
  });
});

describe("the waiting room", () => {
  /** A cell whose only shard has never answered and whose breaker is open. */
  function aStartingRun(hasNeighbour: boolean) {
    const run = aWatchedRun({ options: { hasNeighbour: () => hasNeighbour } });
    for (let count = 0; count < 5; count += 1) {
      run.book.probed("a" as ShardId, { ok: false, reason: "unreachable" }, run.clock.nowMs());
    }
    return run;
  }

  it("keeps turns until the first shard of their model is up", ({ expect }) => {
    const run = aStartingRun(false);
    const waiting = askForSlot(run);
    pass(run, 15_000);
    expect(answer(waiting)).toBe("waits");
    run.book.probed("a" as ShardId, { ok: true }, run.clock.nowMs());
    run.scheduler.wake();
    expect(answer(waiting)).toBe("chosen");
  });

  it("says that there is no capacity, not that it is full, when none comes up", ({ expect }) => {
    const run = aStartingRun(false);
    const waiting = askForSlot(run);
    pass(run, 20_000);
    expect([answer(waiting), run.refusals.at(-1)?.reason]).toEqual(["unhealthy", "roomTimeout"]);
    expect(run.clock.pending()).toBe(0);
  });

  it("is not for models that another cell serves, nor for shards that have served before", ({
    expect,
  }) => {
    expect(answer(askForSlot(aStartingRun(true)))).toBe("unhealthy");
    const run = aWatchedRun({ options: { hasNeighbour: () => false } });
    slotOf(askForSlot(run)).release(succeeded, nothing);
    for (let count = 0; count < 5; count += 1) {
      run.book.probed("a" as ShardId, { ok: false, reason: "unreachable" }, run.clock.nowMs());
    }
    expect(answer(askForSlot(run))).toBe("unhealthy");
  });
});

describe("a scheduler at a degradation level", () => {
  const levels = [
    [1, "chosen"],
    [2, "waits"],
  ] as const;
  for (const [level, tenth] of levels)
    it(`at level ${level}: the last tenth of the slots ${tenth === "waits" ? "is kept for the critical class, though nobody waits" : "may be borrowed"}`, ({
      expect,
    }) => {
      const run = aSchedulerRun({ slots: 10, policy: patient, options: { level: () => level } });
      // Not the first of its model any more: a scheduler that has answered nobody keeps no order yet.
      slotOf(askForSlot(run)).release(succeeded, nothing);
      pass(run, 100);
      const nine = Array.from({ length: 9 }, () => answer(askForSlot(run)));
      expect(new Set(nine)).toStrictEqual(new Set(["chosen"]));
      const asked = askForSlot(run);
      expect(answer(asked)).toBe(tenth);
      asked.cancel();
      if (tenth === "waits")
        expect(answer(askForSlot(run, { priority: "critical" }))).toBe("chosen");
    });
});
