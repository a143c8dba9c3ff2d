import { describe, it } from "vitest";
import type { SlotRequest } from "#regional/scheduler/scheduler.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { aSchedulerRun, aSlotRequest, askForSlot, slotOf } from "#test/support/scheduler-run.ts";
import type { AskedTurn, SchedulerRun } from "#test/support/scheduler-run.ts";

function aScheduler(names: readonly string[], slots = 1, waitingPerModelMax = 10): SchedulerRun {
  return aSchedulerRun({ shards: names, slots, policy: { waitingPerModelMax } });
}

const aRequest = aSlotRequest;
const succeeded: TryResult = { kind: "succeeded" };
const nothing = { tokens: 0, prompt: null };

function ask(parts: SchedulerRun, request: Partial<SlotRequest> = {}): AskedTurn {
  return askForSlot(parts, request);
}

describe("the scheduler", () => {
  it("never gives one slot twice, and serves who waits in order", ({ expect }) => {
    const parts = aScheduler(["a"]);
    const [first, second, third] = [ask(parts), ask(parts), ask(parts)];
    expect([first, second, third].map(({ replies }) => replies.length)).toEqual([1, 0, 0]);
    parts.clock.move(100);
    slotOf(first).release(succeeded, nothing);
    expect(second.replies).toMatchObject([{ kind: "chosen", queueWaitMs: 100 }]);
    expect(third.replies).toEqual([]);
    slotOf(second).release(succeeded, nothing);
    expect(third.replies).toHaveLength(1);
  });

  it("counts a release once, however often it is called", ({ expect }) => {
    const parts = aScheduler(["a"], 2);
    const [first] = [ask(parts), ask(parts)];
    slotOf(first).release(succeeded, nothing);
    slotOf(first).release(succeeded, nothing);
    expect(parts.book.statuses(0)).toMatchObject([{ inFlight: 1, promptTokens: 5 }]);
  });

  it("lets nobody overtake who waits", ({ expect }) => {
    const parts = aScheduler(["a"]);
    const held = ask(parts);
    const waiting = ask(parts, aRequest({ excluded: ["b" as ShardId] }));
    slotOf(held).release(succeeded, nothing);
    const late = ask(parts);
    expect([waiting.replies.length, late.replies.length]).toEqual([1, 0]);
  });

  it("answers queueTimeout when the wait of the class is over, and leaves no timer", ({
    expect,
  }) => {
    const parts = aScheduler(["a"]);
    const held = ask(parts);
    const waiting = ask(parts);
    parts.clock.move(2_999);
    expect(waiting.replies).toEqual([]);
    parts.clock.move(1);
    expect(waiting.replies).toMatchObject([{ kind: "none", reason: "queueTimeout" }]);
    slotOf(held).release(succeeded, nothing);
    expect(waiting.replies).toHaveLength(1);
    expect(parts.clock.pending()).toBe(0);
  });

  it("refuses with a wait when the queue is full", ({ expect }) => {
    const parts = aScheduler(["a"], 1, 1);
    ask(parts);
    ask(parts);
    const refused = ask(parts);
    expect(refused.replies).toMatchObject([{ kind: "none", reason: "queueFull" }]);
    expect(parts.scheduler.waiting().get("m")).toBe(1);
  });

  it("takes a turn that gave up out of the queue", ({ expect }) => {
    const parts = aScheduler(["a"]);
    const held = ask(parts);
    const gone = ask(parts);
    gone.cancel();
    slotOf(held).release(succeeded, nothing);
    expect(gone.replies).toEqual([]);
    expect(parts.scheduler.waiting().size).toBe(0);
    expect(ask(parts).replies).toHaveLength(1);
  });

  it("answers at once where waiting does not help", ({ expect }) => {
    const parts = aScheduler(["a"]);
    expect(ask(parts, aRequest({ model: "other" })).replies).toMatchObject([{ reason: "noShard" }]);
    const tried = aRequest({ excluded: ["a" as ShardId] });
    expect(ask(parts, tried).replies).toMatchObject([
      { reason: "noShard", rejected: [{ id: "a", reason: "excluded" }] },
    ]);
  });

  it("believes a shard that says it is full, for a moment", ({ expect }) => {
    const parts = aScheduler(["a"], 8);
    const first = ask(parts);
    slotOf(first).release(
      {
        kind: "failed",
        failure: { reason: "saturated", status: 429, retryAfterMs: 1_000 },
      },
      nothing,
    );
    const waiting = ask(parts);
    expect(waiting.replies).toEqual([]);
    parts.clock.move(1_000);
    parts.scheduler.wake();
    expect(waiting.replies).toMatchObject([{ kind: "chosen" }]);
  });

  it("answers draining to who waits and who comes", ({ expect }) => {
    const parts = aScheduler(["a"]);
    ask(parts);
    const waiting = ask(parts);
    parts.scheduler.drain();
    expect(waiting.replies).toMatchObject([{ reason: "draining" }]);
    expect(ask(parts).replies).toMatchObject([{ reason: "draining" }]);
  });

  it("leaves a shard alone after five failures, but not after five of clients", ({ expect }) => {
    const parts = aScheduler(["a"], 8);
    const fail = (failure: Extract<TryResult, { kind: "failed" }>["failure"]) => {
      for (let count = 0; count < 5; count += 1)
        slotOf(ask(parts)).release({ kind: "failed", failure }, nothing);
    };
    fail({ reason: "clientFault", status: 400, fault: { code: "invalid_request" } });
    expect(ask(parts).replies).toMatchObject([{ kind: "chosen" }]);
    fail({ reason: "cut" });
    expect(ask(parts).replies).toMatchObject([
      { kind: "none", reason: "unhealthy", rejected: [{ id: "a", reason: "breaker" }] },
    ]);
  });

  it("keeps a shard that is down away no longer than its first opening once it answers probes again", ({
    expect,
  }) => {
    const parts = aScheduler(["a"], 8);
    const { book, clock } = parts;
    const probe = (ok: boolean) =>
      book.probed("a" as ShardId, ok ? { ok } : { ok, reason: "unreachable" }, clock.nowMs());
    for (let count = 0; count < 30; count += 1) {
      probe(false);
      clock.move(2_000);
    }
    expect(ask(parts).replies).toMatchObject([{ kind: "none", reason: "unhealthy" }]);
    probe(true);
    expect(ask(parts).replies).toMatchObject([{ kind: "chosen" }]);
    expect(book.statuses(clock.nowMs())).toMatchObject([{ breaker: "halfOpen" }]);
    for (let count = 0; count < 5; count += 1) probe(true);
    expect(book.statuses(clock.nowMs())).toMatchObject([{ breaker: "closed", isUsable: true }]);
  });

  it("says who else could serve a turn, and takes nothing for it", ({ expect }) => {
    const run = aSchedulerRun({ shards: ["a", "b"], options: { hasNeighbour: () => false } });
    const elsewhere = (...excluded: readonly string[]) =>
      run.scheduler.elsewhere(aSlotRequest({ excluded: excluded as readonly ShardId[] }));
    expect(elsewhere("a")).toEqual({ hasRoom: true, hasNeighbour: false, hasWarmNeighbour: false });
    expect(elsewhere("a", "b")).toEqual({
      hasRoom: false,
      hasNeighbour: false,
      hasWarmNeighbour: false,
    });
    const taken = slotOf(askForSlot(run, { excluded: ["a" as ShardId] }));
    expect(elsewhere("a").hasRoom).toBe(false);
    expect(elsewhere("b").hasRoom).toBe(true);
    const other = slotOf(askForSlot(run));
    askForSlot(run);
    taken.release({ kind: "aborted" }, nothing);
    // The turn that waited has it.
    expect(elsewhere("a").hasRoom).toBe(false);
    other.release({ kind: "aborted" }, nothing);
    expect(elsewhere("b").hasRoom).toBe(true);
    run.scheduler.drain();
    expect(elsewhere("b").hasRoom).toBe(false);
  });
});
