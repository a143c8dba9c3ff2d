import fc from "fast-check";
import { describe, it } from "vitest";
import { textOf } from "#shared/conversation/answer-so-far.ts";
import { unlimitedConditions } from "#shared/conversation/turn-conditions.ts";
import type { TurnConditions } from "#shared/conversation/turn-conditions.ts";
import type { TurnEvent } from "#shared/conversation/turn-events.ts";
import { usageOf } from "#shared/conversation/turn-state.ts";
import type { TryPlan } from "#shared/overload/try-plan.ts";
import {
  Run,
  chosen,
  done,
  engine,
  failed,
  says,
  shard,
  start,
  stops,
  tick,
} from "#test/support/turn-run.ts";

const plan: TryPlan = {
  firstTokenTimeoutMs: 4_000,
  overdueMs: 60_000,
  overdueTokens: 100,
  endMs: 1_000,
  hedgeMs: 500,
};

function chosenWith(name: string, changes: Partial<TryPlan> = {}): TurnEvent {
  return { ...chosen(name), plan: { ...plan, ...changes } } as TurnEvent;
}
const hedged: TurnEvent = {
  kind: "hedgeChosen",
  shard: shard("b"),
  plan: { ...plan, hedgeMs: null },
};

function aRun(conditions: Partial<TurnConditions> = {}): Run {
  return new Run(true, { ...unlimitedConditions, mayHedge: true, ...conditions });
}

/** A turn whose first shard, `a`, is silent and whose hedge, `b`, was dispatched. */
function aHedge(): Run {
  return aRun().feed(start, chosenWith("a")).at(600).feed(tick, hedged);
}

describe("a hedge", () => {
  it("is asked for once the first token is late, and only once", ({ expect }) => {
    const run = aRun().feed(start, chosenWith("a")).at(400).feed(tick);
    expect(run.kinds()).not.toContain("chooseHedge");
    run.at(600).feed(tick, tick, tick);
    expect(run.effects.filter(({ kind }) => kind === "chooseHedge")).toEqual([
      { kind: "chooseHedge", excluded: ["a"] },
    ]);
    run.feed({ kind: "noHedge" }).at(700).feed(tick);
    expect(run.kinds().filter((kind) => kind === "chooseHedge")).toHaveLength(1);
  });

  const not: readonly (readonly [string, Run])[] = [
    ["conditions forbid it", aRun({ mayHedge: false }).feed(start, chosenWith("a"))],
    ["the plan has none", aRun().feed(start, chosenWith("a", { hedgeMs: null }))],
    ["the answer has begun", aRun().feed(start, chosenWith("a"), says("x"))],
  ];
  for (const [name, run] of not) {
    it(`is not asked for where ${name}`, ({ expect }) => {
      expect(run.at(2_000).feed(tick).kinds()).not.toContain("chooseHedge");
    });
  }

  it("is the answer when it speaks first: the other is aborted and released at once", ({
    expect,
  }) => {
    const run = aHedge().feed(says("B", 2));
    expect(run.effects.slice(-4)).toMatchObject([
      { kind: "abortShard", try: 1 },
      { kind: "releaseShard", try: 1, shard: "a", result: { kind: "aborted" } },
      { kind: "hedgeEnded", result: "won" },
      { kind: "deliver", delta: { text: "B" } },
    ]);
    run.feed(says("A", 1), stops(2), engine({ kind: "done" }, 2));
    expect(run.effects.filter(({ kind }) => kind === "deliver")).toHaveLength(2);
    expect(run.reason).toBe("completed");
    expect(run.state.shard).toBe("b");
  });

  it("is aborted and released when the first shard speaks", ({ expect }) => {
    const run = aHedge().feed(says("A", 1));
    expect(run.effects.slice(-4)).toMatchObject([
      { kind: "abortShard", try: 2 },
      { kind: "releaseShard", try: 2, shard: "b", result: { kind: "aborted" } },
      { kind: "hedgeEnded", result: "lost" },
      { kind: "deliver", delta: { text: "A" } },
    ]);
    run.feed(says("B", 2), stops(1), done);
    expect(run.state.choices.map(textOf)).toEqual(["A"]);
  });

  it("bills what the answer's shard counted, never the loser", ({ expect }) => {
    const usage = (tokens: number) =>
      ({
        kind: "usage",
        usage: { promptTokens: tokens, completionTokens: 1, cachedTokens: 0, reasoningTokens: 0 },
      }) as const;
    const run = aHedge().feed(engine(usage(900), 1), says("B", 2), engine(usage(900), 1));
    run.feed(stops(2), engine(usage(7), 2), engine(usage(900), 1), engine({ kind: "done" }, 2));
    expect(usageOf(run.state, run.request)).toMatchObject({ promptTokens: 7 });
    expect(run.effects.at(-1)).toMatchObject({ kind: "finish", usage: { promptTokens: 7 } });
  });

  it("bills no count of the loser where the answer's shard gave none", ({ expect }) => {
    const run = aHedge().feed(
      engine({
        kind: "usage",
        usage: { promptTokens: 900, completionTokens: 1, cachedTokens: 0, reasoningTokens: 0 },
      }),
      says("B", 2),
    );
    run.feed(stops(2), engine({ kind: "done" }, 2));
    expect(usageOf(run.state, run.request).promptTokens).toBe(9);
  });

  it("takes the place of a shard that fails, at no retry", ({ expect }) => {
    const run = aHedge().feed(failed({ reason: "cut" }, 1));
    expect(run.effects.slice(-2)).toMatchObject([
      { kind: "releaseShard", try: 1, result: { kind: "failed" } },
      { kind: "hedgeEnded", result: "replaced" },
    ]);
    expect(run.feed(says("B", 2)).reason).toBe("firstToken");
  });

  it("may fail without any harm to the first", ({ expect }) => {
    for (const event of [
      failed({ reason: "serverError", status: 500 }, 2),
      engine({ kind: "invalid", reason: "json" }, 2),
      engine({ kind: "done" }, 2),
    ]) {
      const run = aHedge().feed(event);
      expect(run.effects.at(-1)).toEqual({ kind: "hedgeEnded", result: "failed" });
      expect(run.feed(says("A", 1), stops(1), done).reason).toBe("completed");
    }
  });

  it("gives its place back when it comes too late", ({ expect }) => {
    const spoken = aRun().feed(start, chosenWith("a")).at(600).feed(tick, says("A", 1), hedged);
    expect(spoken.effects.at(-1)).toEqual({ kind: "returnHedge" });
    const gone = aRun()
      .feed(start, chosenWith("a"))
      .at(600)
      .feed(tick, { kind: "abort", error: null });
    expect(gone.feed(hedged).effects.at(-1)).toEqual({ kind: "returnHedge" });
  });

  it("ends with the turn, both released", ({ expect }) => {
    const run = aHedge().feed({ kind: "abort", error: null });
    const released = run.effects.filter((effect) => effect.kind === "releaseShard");
    expect(released.map((effect) => effect.try).toSorted((one, other) => one - other)).toEqual([
      1, 2,
    ]);
  });

  it("leaves one answer of one shard, and every dispatch released once, whatever happens", ({
    expect,
  }) => {
    const names = ["a", "b", "c", "d", "e", "f"];
    const step = fc.oneof(
      fc.constant("tick"),
      fc.constant("abort"),
      fc.record({
        what: fc.constantFrom("says", "stops", "done", "fails", "invalid", "ids"),
        try: fc.integer({ min: 1, max: 5 }),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.boolean(), (steps, hasHedge) => {
        const run = aRun();
        let index = 0;
        let seen = 0;
        const name = (): string => names[index++ % names.length] ?? "a";
        const feed = (event: TurnEvent): void => {
          run.feed(event);
          while (seen < run.effects.length) {
            const effect = run.effects[seen++];
            if (effect?.kind === "chooseShard") run.feed(chosenWith(name()));
            if (effect?.kind === "chooseHedge") {
              run.feed(
                hasHedge ? { kind: "hedgeChosen", shard: shard(name()) } : { kind: "noHedge" },
              );
            }
          }
        };
        feed(start);
        for (const one of steps) {
          run.nowMs += 300;
          if (one === "tick") feed(tick);
          else if (one === "abort") feed({ kind: "abort", error: null });
          else if (one.what === "says") feed(says(`${one.try}`, one.try));
          else if (one.what === "stops") feed(stops(one.try));
          else if (one.what === "done") feed(engine({ kind: "done" }, one.try));
          else if (one.what === "ids")
            feed(engine({ kind: "promptTokenIds", tokenIds: [1] }, one.try));
          else if (one.what === "invalid")
            feed(engine({ kind: "invalid", reason: "json" }, one.try));
          else feed(failed({ reason: "cut" }, one.try));
        }
        feed({ kind: "abort", error: null });
        const triesOf = (kind: "dispatch" | "releaseShard"): number[] =>
          run.effects
            .flatMap((effect) => (effect.kind === kind ? [effect.try] : []))
            .toSorted((one, other) => one - other);
        expect(triesOf("releaseShard")).toEqual(triesOf("dispatch"));
        // Between two seams all text is of one dispatch.
        let current = "";
        for (const effect of run.effects) {
          if (effect.kind === "seam") current = "";
          if (effect.kind !== "deliver" || effect.delta.text === undefined) continue;
          if (current !== "") expect(effect.delta.text).toBe(current);
          current = effect.delta.text;
        }
        const ends = run.effects.filter(({ kind }) => kind === "finish" || kind === "fail");
        expect(ends).toHaveLength(1);
        const begun = run.effects.filter(({ kind }) => kind === "chooseHedge");
        expect(begun.length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });
});
