import { describe, it } from "vitest";
import { unlimitedConditions } from "#shared/conversation/turn-conditions.ts";
import type { TurnEvent } from "#shared/conversation/turn-events.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import { defaultTurnPolicy } from "#shared/conversation/turn-policy.ts";
import {
  Run,
  chosen,
  deadlineMs,
  done,
  failed,
  says,
  start,
  stops,
  tick,
} from "#test/support/turn-run.ts";

const cut: ShardFailure = { reason: "cut" };
const dead: ShardFailure = { reason: "unreachable" };
const unhealthy: TurnEvent = { kind: "noShard", reason: "unhealthy", rejected: [] };
const patient = { kind: "chooseShard", excluded: [], isPatient: true } as const;
const { waitMsMax } = defaultTurnPolicy;

function aRun(hasWarmNeighbour = false, stream = true): Run {
  const elsewhere = { hasRoom: false, hasNeighbour: hasWarmNeighbour, hasWarmNeighbour };
  return new Run(stream, { ...unlimitedConditions, elsewhere });
}

/** A turn of which `Good ` was shown when its shard died, and for which there is no other. */
function waits(run = aRun()): Run {
  return run.feed(start, chosen("a", "text"), says("Good "), failed(cut), unhealthy, unhealthy);
}

describe("a begun answer that no shard can go on with", () => {
  it("waits for one, and goes on behind its last token", ({ expect }) => {
    const run = waits();
    expect(run.reason).toBe("waiting");
    expect(run.effects.at(-1)).toEqual(patient);
    run
      .at(20_000)
      .feed(tick, chosen("a", "text"), says("day", 2), stops(2), { ...done, try: 2 } as TurnEvent);
    expect(run.reason).toBe("completed");
    expect(run.kinds().filter((kind) => kind === "seam")).toHaveLength(1);
    expect(run.state.waitUntilMs).toBeNull();
  });

  it("waits so long and no longer, and says that it is not whole", ({ expect }) => {
    const run = waits();
    const sinceMs = run.nowMs;
    run.at(sinceMs + waitMsMax - 1).feed(tick);
    expect(run.reason).toBe("ignored");
    run.feed(tick);
    expect(run.reason).toBe("waitedOut");
    expect(run.kinds().slice(-2)).toEqual(["stopChoosing", "fail"]);
    expect(run.effects.at(-1)).toMatchObject({ mayMove: true, error: { code: "interrupted" } });
  });

  it("waits no longer than its deadline", ({ expect }) => {
    const run = aRun().feed(start, chosen("a", "text"), says("Good "));
    run.at(deadlineMs - 1_000).feed(failed(cut), unhealthy, unhealthy);
    expect(run.reason).toBe("waiting");
    run.at(deadlineMs).feed(tick);
    expect(run.reason).toBe("deadlineExceeded");
    expect(run.kinds().slice(-2)).toEqual(["stopChoosing", "fail"]);
  });

  it("asks a shard again only when it is chosen, and three at most", ({ expect }) => {
    const run = waits();
    for (const ofTry of [2, 3]) {
      run.feed(chosen("a", "text"), failed(dead, ofTry));
      expect(run.reason).toBe("waiting");
      expect(run.effects.at(-1)).toEqual(patient);
    }
    run.feed(chosen("a", "text"), failed(dead, 4));
    expect(run.reason).toBe("interrupted");
    expect(run.effects.filter(({ kind }) => kind === "dispatch")).toHaveLength(4);
  });

  it("does not begin to wait anew with each failure", ({ expect }) => {
    const run = waits();
    const sinceMs = run.nowMs;
    run.at(sinceMs + waitMsMax - 100).feed(chosen("a", "text"));
    run.at(sinceMs + waitMsMax + 5_000).feed(tick);
    expect(run.reason).toBe("ignored");
    run.feed(failed(dead, 2));
    expect(run.reason).toBe("interrupted");
  });

  it("waits again at its next seam", ({ expect }) => {
    const run = waits().at(20_000);
    run.feed(chosen("a", "text"), says("day", 2), failed(cut, 2), unhealthy, unhealthy);
    expect(run.reason).toBe("waiting");
    expect(run.state.waitUntilMs).toBe(run.nowMs + waitMsMax);
  });

  it("waits also after three shards that failed one after the other", ({ expect }) => {
    const run = aRun().feed(start, chosen("a", "text"), says("Good "), failed(cut));
    run.feed(chosen("b", "text"), failed(dead, 2), chosen("c", "text"), failed(dead, 3));
    run.feed(chosen("d", "text"), failed(dead, 4));
    expect(run.reason).toBe("waiting");
    expect(run.kinds().slice(-3)).toEqual(["abortShard", "releaseShard", "chooseShard"]);
  });

  it("goes to another cell at once that has a shard, also in the middle of its wait", ({
    expect,
  }) => {
    const run = waits(aRun(true));
    expect(run.effects.at(-1)).toMatchObject({ kind: "fail", mayMove: true });
    const elsewhere = { hasRoom: false, hasNeighbour: true, hasWarmNeighbour: false };
    const later = waits(new Run(true, { ...unlimitedConditions, elsewhere }));
    expect(later.reason).toBe("waiting");
    elsewhere.hasWarmNeighbour = true;
    later.feed(tick);
    expect(later.effects.at(-1)).toMatchObject({ kind: "fail", mayMove: true });
  });

  it("waits in the cell that it was passed on to, and is passed on no further in vain", ({
    expect,
  }) => {
    for (const hasWarmNeighbour of [false, true]) {
      const run = aRun(hasWarmNeighbour);
      Object.assign(run.request, { hop: 1 });
      waits(run);
      expect(run.reason).toBe("waiting");
      run.at(run.nowMs + waitMsMax + 1).feed(tick);
      expect(run.effects.at(-1)).toMatchObject({ kind: "fail", mayMove: hasWarmNeighbour });
    }
  });

  it.for(["poisoned", "draining", "deadlinePassed", "queueTimeout", "cold"] as const)(
    "does not wait where none will come back: %s",
    (reason, { expect }) => {
      const run = aRun().feed(start, chosen("a", "text"), says("Good "), failed(cut));
      run.feed({ kind: "noShard", reason, rejected: [] });
      expect(run.failure?.code).toBe("interrupted");
    },
  );

  it("does not wait in a cell that has no shard of the model at all", ({ expect }) => {
    const run = aRun().feed(start, chosen("a", "text"), says("Good "), failed(cut), unhealthy);
    run.feed({ kind: "noShard", reason: "noShard", rejected: [] });
    expect(run.effects.at(-1)).toMatchObject({ kind: "fail", mayMove: true });
  });

  it("is given up while it waits without a shard to stop", ({ expect }) => {
    const run = waits().feed({ kind: "abort", error: null });
    expect(run.kinds().slice(-2)).toEqual(["stopChoosing", "fail"]);
  });
});

describe("an answer of which nobody has seen anything", () => {
  it("does not wait: it has not begun, or is no stream", ({ expect }) => {
    const fresh = aRun().feed(start, unhealthy);
    expect(fresh.failure?.code).toBe("no_capacity_in_jurisdiction");
    const whole = waits(aRun(false, false));
    expect(whole.kinds()).not.toContain("seam");
    expect(whole.effects.at(-1)).toMatchObject({ kind: "fail" });
  });
});
