import { describe, it } from "vitest";
import { aSchedulerRun, askForSlot, slotOf } from "#test/support/scheduler-run.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";

const patient = { hasBegun: true, isPatient: true, deadlineMs: 1e9 } as const;
const cut: ShardFailure = { reason: "cut" };
const seen = { tokens: 1, prompt: null };
const shardId = (name: string): ShardId => name as ShardId;

/** A shard `a` with two slots that has just failed a prompt. */
function aBrokenRun(shards: readonly string[] = ["a"]) {
  const run = aSchedulerRun({ shards, slots: 2 });
  const probe = (ok: boolean, id = "a"): void => {
    run.book.probed(shardId(id), ok ? { ok } : { ok, reason: "refused" }, run.clock.nowMs());
    run.scheduler.wake();
  };
  const fail = (): void =>
    slotOf(askForSlot(run, { onlyShard: shardId("a") })).release(
      { kind: "failed", failure: cut },
      seen,
    );
  for (const id of shards) probe(true, id);
  fail();
  return { ...run, probe, fail };
}

describe("a begun answer that waits for a shard", () => {
  it("is given none that has not shown life since a prompt failed there", ({ expect }) => {
    const run = aBrokenRun();
    const turn = askForSlot(run, patient);
    for (let second = 0; second < 60; second += 1) {
      run.clock.move(1_000);
      run.scheduler.wake();
    }
    expect(turn.replies).toStrictEqual([]);
    expect(run.scheduler.patients().get("m")).toBe(1);
    run.probe(false);
    expect(turn.replies).toStrictEqual([]);
    run.probe(true);
    expect(turn.replies).toMatchObject([{ kind: "chosen", queueWaitMs: 60_000 }]);
    expect(run.scheduler.patients().get("m")).toBe(0);
  });

  it("is given one that was never in doubt at once", ({ expect }) => {
    const run = aBrokenRun(["a", "b"]);
    expect(slotOf(askForSlot(run, patient)).shard).toBe("b");
  });

  it("is given the first place of a breaker that lets one through, before new prompts", ({
    expect,
  }) => {
    const run = aBrokenRun();
    for (let count = 0; count < 4; count += 1) run.fail();
    const turn = askForSlot(run, patient);
    expect(askForSlot(run).replies).toMatchObject([{ kind: "none", reason: "unhealthy" }]);
    run.probe(true);
    expect(turn.replies).toStrictEqual([]);
    run.clock.move(6_001);
    run.scheduler.wake();
    expect(slotOf(turn).shard).toBe("a");
    expect(askForSlot(run).replies).toMatchObject([{ kind: "none", reason: "unhealthy" }]);
  });

  it("waits for an undrained shard", ({ expect }) => {
    const run = aBrokenRun();
    run.book.setDraining(shardId("a"), true, run.clock.nowMs());
    const turn = askForSlot(run, patient);
    run.probe(true);
    expect(turn.replies).toStrictEqual([]);
    run.book.setDraining(shardId("a"), false, run.clock.nowMs());
    run.scheduler.wake();
    expect(slotOf(turn).shard).toBe("a");
  });

  it("is served in the order in which it came", ({ expect }) => {
    const run = aBrokenRun();
    const turns = [1, 2, 3].map(() => askForSlot(run, patient));
    run.probe(true);
    expect(turns.map(({ replies }) => replies.length)).toStrictEqual([1, 1, 0]);
    const [first, , last] = turns;
    if (first === undefined || last === undefined) throw new Error("three turns");
    slotOf(first).release({ kind: "succeeded" }, seen);
    expect(slotOf(last).shard).toBe("a");
  });

  it("does not keep another one waiting for which it has no right size", ({ expect }) => {
    const run = aBrokenRun();
    const tooLong = askForSlot(run, { ...patient, onlyShard: shardId("gone") });
    const turn = askForSlot(run, patient);
    run.probe(true);
    expect(tooLong.replies).toStrictEqual([]);
    expect(slotOf(turn).shard).toBe("a");
  });

  it("asks for a start where a shard is cold", ({ expect }) => {
    let wanted = 0;
    const run = aSchedulerRun({
      lives: {
        note: () => {},
        view: () => ({ lifecycle: "cold", reason: "idle", readyInMs: 9_000 }),
      },
      options: { warmth: { wanted: () => void (wanted += 1), hasWarmNeighbour: () => false } },
    });
    run.book.probed(shardId("a"), { ok: true }, run.clock.nowMs());
    const turn = askForSlot(run, patient);
    run.scheduler.wake();
    expect(turn.replies).toStrictEqual([]);
    expect(wanted).toBe(2);
  });

  it("is taken out when it is given up", ({ expect }) => {
    const run = aBrokenRun();
    const turn = askForSlot(run, patient);
    turn.cancel();
    run.probe(true);
    expect(turn.replies).toStrictEqual([]);
    expect(run.scheduler.patients().get("m")).toBe(0);
  });

  it("is told of its deadline, and of the end of its cell", ({ expect }) => {
    const run = aBrokenRun();
    const late = askForSlot(run, { ...patient, deadlineMs: 1_000 });
    const turn = askForSlot(run, patient);
    run.clock.move(1_001);
    run.scheduler.wake();
    expect(late.replies).toMatchObject([{ kind: "none", reason: "deadlinePassed" }]);
    run.scheduler.drain();
    expect(turn.replies).toMatchObject([{ kind: "none", reason: "draining" }]);
    expect(askForSlot(run, patient).replies).toMatchObject([{ reason: "draining" }]);
  });

  it("finds room for a thousand of its kind", ({ expect }) => {
    const run = aBrokenRun();
    for (let count = 0; count < 1_000; count += 1) askForSlot(run, patient);
    expect(askForSlot(run, patient).replies).toMatchObject([{ kind: "none", reason: "unhealthy" }]);
  });
});

describe("a shard that nobody probes, because that would keep it up", () => {
  it("is believed again after some seconds", ({ expect }) => {
    const run = aSchedulerRun({ scaleToZeroSeconds: 60 });
    slotOf(askForSlot(run)).release({ kind: "failed", failure: cut }, seen);
    const turn = askForSlot(run, patient);
    run.clock.move(4_999);
    run.scheduler.wake();
    expect(turn.replies).toStrictEqual([]);
    run.clock.move(1);
    run.scheduler.wake();
    expect(slotOf(turn).shard).toBe("a");
  });
});
