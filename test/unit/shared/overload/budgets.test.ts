import fc from "fast-check";
import { describe, it } from "vitest";
import {
  defaultHedgePolicy,
  judgeHedge,
  newHedgeBudget,
  withHedge,
  withHedgeableTurn,
  withHedgeEnded,
} from "#shared/overload/hedge-budget.ts";
import { emptyRatios, ratioP95, withRatio } from "#shared/overload/ratio-quantile.ts";
import {
  hasRetry,
  newRetryBudget,
  withFirstAttempt,
  withRetry,
  withTime,
} from "#shared/overload/retry-budget.ts";
import { defaultTryPlanPolicy, planTry } from "#shared/overload/try-plan.ts";

describe("the retry budget", () => {
  it("bounds a storm in which everything fails to a tenth, beyond what was saved up", ({
    expect,
  }) => {
    let budget = newRetryBudget(0);
    let retries = 0;
    for (let index = 0; index < 10_000; index += 1) {
      budget = withFirstAttempt(budget);
      while (hasRetry(budget)) {
        budget = withRetry(budget);
        retries += 1;
      }
    }
    expect(retries).toBeGreaterThan(1_000);
    expect(retries).toBeLessThanOrEqual(1_000 + 20);
  });

  it("saves up no more than 20", ({ expect }) => {
    let budget = newRetryBudget(0);
    for (let index = 0; index < 10_000; index += 1) budget = withFirstAttempt(budget);
    expect(budget.tokens).toBe(20);
    expect(withTime(budget, 60_000).tokens).toBe(20);
  });

  it("lets a cell with one request in ten seconds retry each of them, for an hour", ({
    expect,
  }) => {
    let budget = newRetryBudget(0);
    for (let seconds = 10; seconds <= 3_600; seconds += 10) {
      budget = withFirstAttempt(withTime(budget, seconds * 1_000));
      expect(hasRetry(budget)).toBe(true);
      budget = withRetry(budget);
    }
  });

  it("adds one in five seconds and no more, whenever it is asked, and nothing when the clock goes back", ({
    expect,
  }) => {
    let budget = newRetryBudget(1_000);
    while (hasRetry(budget)) budget = withRetry(budget);
    for (let ms = 1_000; ms < 6_000; ms += 10) {
      budget = withTime(budget, ms);
      expect(hasRetry(budget)).toBe(false);
    }
    budget = withTime(withTime(budget, 500), 500);
    expect(hasRetry(budget)).toBe(false);
    expect(hasRetry(withTime(budget, 511))).toBe(true);
  });
});

describe("the hedge budget", () => {
  const calm = { level: 0, saturation: 0.3 } as const;

  it("is 2 % of the turns and 2 % of their prompt tokens", ({ expect }) => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 4_096 }), { minLength: 500 }), (prompts) => {
        let budget = newHedgeBudget(defaultHedgePolicy);
        let [hedges, tokens, all] = [0, 0, 0];
        for (const prompt of prompts) {
          budget = withHedgeableTurn(budget, prompt, defaultHedgePolicy);
          all += prompt;
          if (judgeHedge(budget, prompt, calm, 0, defaultHedgePolicy) !== "allowed") continue;
          budget = withHedge(budget, prompt);
          hedges += 1;
          tokens += prompt;
        }
        expect(hedges).toBeLessThanOrEqual(1 + 0.02 * prompts.length + 1e-6);
        expect(tokens).toBeLessThanOrEqual(4_096 + 0.02 * all + 1e-6);
      }),
      { numRuns: 30 },
    );
  });

  const fresh = newHedgeBudget(defaultHedgePolicy);
  const verdicts = [
    ["allowed", 100, calm],
    ["level", 100, { level: 1, saturation: 0.3 }],
    ["saturated", 100, { level: 0, saturation: 0.71 }],
    ["saturated", 100, { level: 0, saturation: Number.NaN }],
    ["long", 4_097, calm],
  ] as const;
  for (const [verdict, tokens, load] of verdicts) {
    it(`says ${verdict} to ${tokens} tokens at ${JSON.stringify(load)}`, ({ expect }) => {
      expect(judgeHedge(fresh, tokens, load, 0, defaultHedgePolicy)).toBe(verdict);
    });
  }

  it("pauses when fewer than a quarter of 100 hedges won, and judges anew afterwards", ({
    expect,
  }) => {
    const after = (wins: number) => {
      let budget = { ...fresh, hedges: 10 };
      for (let index = 0; index < 100; index += 1) {
        budget = withHedgeEnded(budget, index < wins, 1_000, defaultHedgePolicy);
      }
      return budget;
    };
    expect(judgeHedge(after(25), 1, calm, 1_001, defaultHedgePolicy)).toBe("allowed");
    expect(judgeHedge(after(24), 1, calm, 1_001, defaultHedgePolicy)).toBe("paused");
    expect(judgeHedge(after(24), 1, calm, 601_001, defaultHedgePolicy)).toBe("allowed");
  });
});

describe("the plan of a try", () => {
  const predicted = {
    ttftSeconds: 2,
    interTokenSeconds: 0.02,
    outputTokens: 101,
    outputTokensP90: 400,
  };
  const plan = (changes: Partial<typeof predicted>, isWarm = true, hedgeRatio: number | null = 0) =>
    planTry({ ...predicted, ...changes }, { isWarm, hedgeRatio }, defaultTryPlanPolicy);

  it("waits 3 T + 1 s for the first token, from 4 to 45 s", ({ expect }) => {
    expect(plan({}).firstTokenTimeoutMs).toBe(7_000);
    expect(plan({ ttftSeconds: 0.1 }).firstTokenTimeoutMs).toBe(4_000);
    expect(plan({ ttftSeconds: 60 }).firstTokenTimeoutMs).toBe(45_000);
    expect(plan({ ttftSeconds: Number.NaN }).firstTokenTimeoutMs).toBe(45_000);
  });

  it("gives a shard that may be cold all of the time", ({ expect }) => {
    expect(plan({}, false).firstTokenTimeoutMs).toBe(45_000);
  });

  it("knows when an answer is overdue and when it ends", ({ expect }) => {
    expect(plan({})).toMatchObject({ overdueMs: 7_000 + 1.5 * 400 * 60, overdueTokens: 400 });
    expect(plan({}).endMs).toBe(4_000);
    expect(plan({ interTokenSeconds: Number.NaN }).overdueMs).toBeNull();
  });

  it("hedges after twice the prediction, or later where predictions are often passed", ({
    expect,
  }) => {
    expect(plan({}).hedgeMs).toBe(4_000);
    expect(plan({}, true, 5).hedgeMs).toBe(10_000);
    expect(plan({ ttftSeconds: 0.01 }).hedgeMs).toBe(200);
    expect(plan({}, true, null).hedgeMs).toBeNull();
  });
});

describe("observed over predicted", () => {
  it("has a 95th percentile of the last hundred, once there are twenty", ({ expect }) => {
    let window = emptyRatios;
    for (let index = 1; index <= 19; index += 1) window = withRatio(window, index);
    expect(ratioP95(window)).toBeNull();
    for (let index = 1; index <= 100; index += 1) window = withRatio(window, index / 100);
    expect(ratioP95(window)).toBeCloseTo(0.95);
    expect(withRatio(window, Number.NaN)).toBe(window);
  });
});
