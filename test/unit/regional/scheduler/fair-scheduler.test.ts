import { describe, it } from "vitest";
import type { Priority } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { aSchedulerRun, askForSlot, slotOf } from "#test/support/scheduler-run.ts";
import type { AskedTurn, SchedulerRun } from "#test/support/scheduler-run.ts";

const succeeded = { kind: "succeeded" } as const;
const nothing = { tokens: 0, prompt: null };

function fill(run: SchedulerRun, priority: Priority, most: number): AskedTurn[] {
  const asked: AskedTurn[] = [];
  for (let count = 0; count < most; count += 1) {
    asked.push(askForSlot(run, { priority, affinityKey: "" }));
  }
  return asked.filter(({ replies }) => replies[0]?.kind === "chosen");
}

describe("the scheduler among classes and tenants", () => {
  it("serves the more important class first, whoever came before", ({ expect }) => {
    const run = aSchedulerRun();
    const held = askForSlot(run);
    const order = (["batch", "standard", "interactive", "critical"] as const).map((priority) =>
      askForSlot(run, { priority }),
    );
    slotOf(held).release(succeeded, nothing);
    expect(order.map(({ replies }) => replies.length)).toEqual([0, 0, 0, 1]);
    const [batch, standard, interactive, critical] = order;
    if (critical !== undefined) slotOf(critical).release(succeeded, nothing);
    expect(interactive?.replies).toHaveLength(1);
    if (interactive !== undefined) slotOf(interactive).release(succeeded, nothing);
    expect([standard, batch].map((asked) => asked?.replies.length)).toEqual([1, 0]);
  });

  it("serves one tenant's turn before the hundredth of another", ({ expect }) => {
    const run = aSchedulerRun();
    const held = askForSlot(run);
    const flood = Array.from({ length: 100 }, () => askForSlot(run, { tenant: "flood" }));
    const small = askForSlot(run, { tenant: "small" });
    slotOf(held).release(succeeded, nothing);
    const first = flood.find(({ replies }) => replies.length > 0);
    if (first !== undefined) slotOf(first).release(succeeded, nothing);
    expect(small.replies).toHaveLength(1);
  });

  it("fills a shard with each class only as far as nobody above waits", ({ expect }) => {
    const taken = (["critical", "interactive", "standard", "batch"] as const).map((priority) => {
      const run = aSchedulerRun({ slots: 20 });
      return fill(run, priority, 30).length;
    });
    expect(taken).toEqual([20, 20, 18, 15]);
  });

  it("keeps the share of those above free while one of them waits", ({ expect }) => {
    const run = aSchedulerRun({ shards: ["a", "b"], slots: 20 });
    for (let count = 0; count < 20; count += 1) {
      askForSlot(run, { priority: "critical", excluded: ["b" as ShardId] });
    }
    // It may use shard a alone, and waits; b is still free.
    const waiting = askForSlot(run, { priority: "critical", excluded: ["b" as ShardId] });
    expect(waiting.replies).toEqual([]);
    const batch = Array.from({ length: 20 }, () => askForSlot(run, { priority: "batch" }));
    run.scheduler.wake();
    expect(batch.filter(({ replies }) => replies.length > 0)).toHaveLength(11);
  });

  it("lets a batch turn use an idle shard, however small", ({ expect }) => {
    expect(askForSlot(aSchedulerRun(), { priority: "batch" }).replies).toHaveLength(1);
  });

  it("serves a running conversation before a first turn of its class", ({ expect }) => {
    const run = aSchedulerRun();
    const held = askForSlot(run);
    const first = askForSlot(run, { tenant: "one" });
    const later = askForSlot(run, { tenant: "two", isLaterTurn: true });
    slotOf(held).release(succeeded, nothing);
    expect([first, later].map(({ replies }) => replies.length)).toEqual([0, 1]);
  });

  it("lets a begun answer go on before anything that has not begun", ({ expect }) => {
    const run = aSchedulerRun({ slots: 20 });
    const held = fill(run, "interactive", 20);
    const critical = askForSlot(run, { priority: "interactive", isLaterTurn: true });
    const begun = askForSlot(run, { priority: "batch", hasBegun: true });
    const [one] = held;
    if (one !== undefined) slotOf(one).release(succeeded, nothing);
    expect([critical, begun].map(({ replies }) => replies.length)).toEqual([0, 1]);
  });

  it("passes over a turn that may not use the free shard", ({ expect }) => {
    const run = aSchedulerRun({ shards: ["a", "b"] });
    const onA = askForSlot(run, { excluded: ["b" as ShardId] });
    const onB = askForSlot(run, { excluded: ["a" as ShardId] });
    const forA = askForSlot(run, { excluded: ["b" as ShardId], deadlineMs: 5_000 });
    const forAny = askForSlot(run, { tenant: "other" });
    slotOf(onB).release(succeeded, nothing);
    expect([forA, forAny].map(({ replies }) => replies.length)).toEqual([0, 1]);
    slotOf(onA).release(succeeded, nothing);
    expect(forA.replies).toMatchObject([{ kind: "chosen" }]);
  });
});

describe("the scheduler and deadlines", () => {
  it("drops work whose deadline came while it waited, as such and not as a full queue", ({
    expect,
  }) => {
    const run = aSchedulerRun({ policy: { foresightMsMax: 0 } });
    const held = askForSlot(run);
    const waiting = askForSlot(run, { deadlineMs: run.clock.nowMs() + 700 });
    run.clock.move(699);
    expect(waiting.replies).toEqual([]);
    run.clock.move(1);
    expect(waiting.replies).toMatchObject([{ kind: "none", reason: "deadlinePassed" }]);
    slotOf(held).release(succeeded, nothing);
    expect([waiting.replies.length, run.clock.pending()]).toEqual([1, 0]);
  });

  it("never runs work that comes after its deadline, not even on an idle shard", ({ expect }) => {
    const run = aSchedulerRun();
    const late = askForSlot(run, { deadlineMs: run.clock.nowMs() });
    expect(late.replies).toMatchObject([{ kind: "none", reason: "deadlinePassed" }]);
    expect(run.book.runningOf("m")).toBe(0);
  });
});
