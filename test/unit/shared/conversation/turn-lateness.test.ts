import { describe, it } from "vitest";
import { unlimitedConditions } from "#shared/conversation/turn-conditions.ts";
import type { TurnElsewhere } from "#shared/conversation/turn-conditions.ts";
import type { TurnEvent } from "#shared/conversation/turn-events.ts";
import type { TryPlan } from "#shared/overload/try-plan.ts";
import { Run, chosen, deadlineMs, failed, says, start, tick } from "#test/support/turn-run.ts";

function chosenWith(name: string, changes: Partial<TryPlan> = {}): TurnEvent {
  const plan: TryPlan = {
    firstTokenTimeoutMs: 4_000,
    overdueMs: 30_000,
    overdueTokens: 100,
    endMs: 1_000,
    hedgeMs: null,
    ...changes,
  };
  return { ...chosen(name), plan } as TurnEvent;
}

function aRun(mayRetry = true, random = 0): Run {
  return new Run(true, { ...unlimitedConditions, mayRetry, random: () => random });
}

function aRunWhere(elsewhere: TurnElsewhere): Run {
  return new Run(true, { ...unlimitedConditions, elsewhere });
}

const nowhere: TurnElsewhere = {
  hasRoom: false,
  hasNeighbour: false,
  hasWarmNeighbour: false,
};

describe("a first token that is late", () => {
  it("is not waited for longer than planned", ({ expect }) => {
    const run = aRun().feed(start, chosenWith("a")).at(3_900).feed(tick);
    expect(run.reason).toBe("ignored");
    run.at(4_010).feed(tick);
    expect(run.state.lastFailure).toEqual({ reason: "firstTokenTimeout" });
    expect(run.reason).toBe("retried");
  });

  it("is waited for up to the longest time where nobody else may be asked", ({ expect }) => {
    const run = aRun(false).feed(start, chosenWith("a")).at(44_000).feed(tick);
    expect(run.reason).toBe("ignored");
    expect(run.at(45_010).feed(tick).reason).toBe("triesExhausted");
  });
});

describe("a first token that is late where nobody else has room", () => {
  it("is waited for up to the longest time when there is no other cell either", ({ expect }) => {
    const run = aRunWhere(nowhere).feed(start, chosenWith("a")).at(44_000).feed(tick);
    expect(run.reason).toBe("ignored");
    expect(run.feed(says("late")).reason).toBe("firstToken");
  });

  it("is given up as planned for another cell", ({ expect }) => {
    const run = aRunWhere({ ...nowhere, hasNeighbour: true });
    run.feed(start, chosenWith("a")).at(4_010).feed(tick);
    expect(run.state.lastFailure).toEqual({ reason: "firstTokenTimeout" });
  });
});

describe("a retry", () => {
  it("waits 25 to 150 ms", ({ expect }) => {
    for (const [random, delayMs] of [
      [0, 25],
      [1, 150],
    ] as const) {
      const run = aRun(true, random).feed(start, chosenWith("a"), failed({ reason: "cut" }));
      expect(run.effects.at(-1)).toEqual({
        kind: "chooseShard",
        excluded: ["a"],
        retryDelayMs: delayMs,
      });
    }
  });

  it("is not made where the budget is empty", ({ expect }) => {
    const run = aRun(false).feed(start, chosenWith("a"), failed({ reason: "cut" }));
    expect(run.reason).toBe("triesExhausted");
    expect(run.failure?.code).toBe("upstream_invalid");
  });

  it("is not made where it could not end before the deadline", ({ expect }) => {
    const late = aRun()
      .feed(start, chosenWith("a"))
      .at(deadlineMs - 900);
    expect(late.feed(failed({ reason: "cut" })).reason).toBe("triesExhausted");
    const soon = aRun()
      .feed(start, chosenWith("a"))
      .at(deadlineMs - 1_100);
    expect(soon.feed(failed({ reason: "cut" })).reason).toBe("retried");
  });

  it("is made once in a cell that another one has passed the turn on to", ({ expect }) => {
    const run = aRun();
    Object.assign(run.request, { hop: 1 });
    run.feed(start, chosenWith("a"), failed({ reason: "unreachable" }));
    expect(run.reason).toBe("retried");
    run.feed(chosenWith("b"), failed({ reason: "unreachable" }, 2));
    expect(run.reason).toBe("triesExhausted");
  });

  it("is not what a begun answer needs, nor what leaves a drained shard", ({ expect }) => {
    const begun = aRun(false).feed(start, chosenWith("a"), says("x"), failed({ reason: "cut" }));
    expect(begun.effects.at(-1)).toEqual({ kind: "chooseShard", excluded: ["a"] });
    const drained = aRun(false).feed(start, chosenWith("a"), failed({ reason: "drained" }));
    expect(drained.effects.at(-1)).toEqual({ kind: "chooseShard", excluded: ["a"] });
  });
});

describe("an answer that crawls", () => {
  function crawl(run: Run, tokens: number): Run {
    run.feed(start, chosenWith("a", { overdueTokens: 10 }));
    for (let index = 1; index <= tokens; index += 1) run.at(index * 2_000).feed(says("x"));
    return run;
  }

  it("goes on at another shard once it is overdue", ({ expect }) => {
    const run = crawl(aRun(), 9).at(20_000).feed(says("x"));
    run.state = { ...run.state, try: { ...run.state.try, pieces: 5 } };
    expect(run.at(29_000).feed(says("y"), tick).reason).toBe("ignored");
    run.at(31_000).feed(tick);
    expect(run.state.lastFailure).toEqual({ reason: "overdue" });
    expect(run.effects.at(-1)?.kind).toBe("chooseShard");
  });

  it("is never given up while no other shard of the cell has room", ({ expect }) => {
    for (const hasNeighbour of [false, true]) {
      const run = crawl(aRunWhere({ ...nowhere, hasNeighbour }), 9);
      expect(run.at(31_000).feed(says("x"), tick).reason).toBe("ignored");
      expect(run.at(90_000).feed(says("y"), tick).reason).toBe("ignored");
    }
  });

  it("is left alone when it is only long, or was held up by its reader", ({ expect }) => {
    const long = crawl(aRun(), 14);
    expect(long.at(31_000).feed(says("x"), tick).reason).toBe("ignored");
    const held = crawl(aRun(), 4);
    held.at(12_000).feed({ kind: "tick", isPaused: true });
    expect(held.at(31_000).feed(says("x"), tick).reason).toBe("ignored");
  });
});
