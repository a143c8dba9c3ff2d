import { describe, it } from "vitest";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import type { Slot } from "#regional/scheduler/scheduler.ts";
import { priorities } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { aSchedulerRun, aSlotRequest } from "#test/support/scheduler-run.ts";

const operations = 100_000;
const seed = 20_261_121;

describe(`a scheduler over ${operations} random operations (seed ${seed})`, () => {
  it("answers each turn exactly once or never after it left, keeps its bounds, and leaks nothing", ({
    expect,
  }) => {
    const random = seededRandom(seed);
    const draw = (most: number): number => Math.floor(random() * most);
    const bounds = { waitingPerModelMax: 40, waitingMax: 40 };
    const run = aSchedulerRun({ shards: ["a", "b", "c"], slots: 4, policy: bounds });
    const { book, clock, scheduler } = run;
    const running = new Set<Slot>();
    const cancels = new Map<number, () => void>();
    const answers = new Map<number, number>();
    const left = new Set<number>();
    const faults: string[] = [];
    let turns = 0;

    function ask(): void {
      const turn = (turns += 1);
      answers.set(turn, 0);
      const request = aSlotRequest({
        tenant: `t${draw(6) * draw(3)}`,
        priority: priorities[draw(4)] ?? "batch",
        isLaterTurn: draw(2) === 0,
        hasBegun: draw(50) === 0,
        affinityKey: `k${draw(40)}`,
        promptTokensEstimate: 1 + draw(4_000),
        completionTokensMax: 1 + draw(400),
        deadlineMs: clock.nowMs() + (draw(3) === 0 ? draw(3_000) : 1_000_000),
        excluded: draw(20) === 0 ? ["a" as ShardId] : [],
      });
      const cancel = scheduler.acquire(request, (reply) => {
        answers.set(turn, (answers.get(turn) ?? 0) + 1);
        if (left.has(turn)) faults.push(`turn ${turn} was answered after it had left`);
        cancels.delete(turn);
        if (reply.kind === "chosen") running.add(reply.slot);
        if (reply.kind === "chosen" && request.deadlineMs <= clock.nowMs())
          faults.push(`turn ${turn} was begun after its deadline`);
      });
      if (answers.get(turn) === 0) cancels.set(turn, cancel);
    }

    function release(): void {
      const slots = [...running];
      const slot = slots[draw(slots.length)];
      if (slot === undefined) return;
      running.delete(slot);
      const kind = draw(20);
      slot.release(
        kind === 0
          ? { kind: "failed", failure: { reason: "saturated", status: 429, retryAfterMs: 200 } }
          : kind === 1
            ? { kind: "aborted" }
            : { kind: "succeeded" },
        { tokens: draw(300), prompt: null },
      );
    }

    function leave(): void {
      const waiting = [...cancels.keys()];
      const turn = waiting[draw(waiting.length)];
      if (turn === undefined) return;
      left.add(turn);
      cancels.get(turn)?.();
      cancels.delete(turn);
    }

    for (let operation = 0; operation < operations; operation += 1) {
      const kind = draw(10);
      // Times of too much and of too little work.
      const isBusy = Math.floor(operation / 10_000) % 2 === 0;
      if (kind < (isBusy ? 6 : 2)) ask();
      else if (kind < 8) release();
      else if (kind < 9) {
        clock.move(draw(120));
        scheduler.wake();
      } else leave();
      const waiting = scheduler.waiting().get("m") ?? 0;
      if (waiting !== cancels.size) faults.push(`${waiting} wait, not ${cancels.size}`);
      if (waiting > bounds.waitingMax) faults.push(`${waiting} wait`);
      if (book.runningOf("m") !== running.size) faults.push("a slot was lost");
      if (clock.pending() !== waiting) faults.push(`${clock.pending()} timers for ${waiting}`);
      if (faults.length > 0) break;
    }
    while (running.size > 0) release();
    clock.move(40_000);
    scheduler.wake();
    while (running.size > 0) release();
    expect(faults).toEqual([]);
    expect([...answers].filter(([turn, count]) => count !== (left.has(turn) ? 0 : 1))).toEqual([]);
    expect([scheduler.waiting().size, book.runningOf("m"), clock.pending()]).toEqual([0, 0, 0]);
  });
});
