import { describe, it } from "vitest";
import {
  defaultPrewarmPolicy,
  giveBackPrefill,
  measurePrefill,
  takePrefill,
} from "#shared/admission/prewarm-budget.ts";
import type { PrewarmBudget } from "#shared/admission/prewarm-budget.ts";

const policy = { ...defaultPrewarmPolicy, share: 0.2, burstSeconds: 10 };
/** 200 tokens a second are left to moves; 2,000 can be saved up. */
const rate = 1_000;

function take(budget: PrewarmBudget | null, tokens: number, nowMs: number) {
  return takePrefill(budget, tokens, rate, nowMs, policy);
}

describe("the prefill that moves may use", () => {
  it("begins full, and is empty after the burst", ({ expect }) => {
    const first = take(null, 2_000, 0);
    expect(first).toEqual({ kind: "taken", budget: { tokens: 0, atMs: 0 } });
    if (first.kind !== "taken") return;
    expect(take(first.budget, 1, 0)).toEqual({ kind: "wait", waitMs: 5 });
    expect(take(first.budget, 1, 4)).toMatchObject({ kind: "wait" });
    expect(take(first.budget, 1, 5)).toMatchObject({ kind: "taken" });
  });

  it("lets a prompt that is larger than the burst through when it is full, and is paid for", ({
    expect,
  }) => {
    const first = take(null, 10_000, 0);
    expect(first).toMatchObject({ kind: "taken", budget: { tokens: -8_000 } });
    if (first.kind !== "taken") return;
    expect(take(first.budget, 10_000, 0)).toEqual({ kind: "wait", waitMs: 50_000 });
    expect(take(first.budget, 10_000, 50_000)).toMatchObject({ kind: "taken" });
  });

  it("gives at most a fifth of the shard's prefill over a long time", ({ expect }) => {
    let budget: PrewarmBudget | null = null;
    let given = 0;
    const seconds = 3_600;
    for (let nowMs = 0; nowMs < seconds * 1_000; nowMs += 250) {
      const taken = take(budget, 700, nowMs);
      if (taken.kind !== "taken") continue;
      ({ budget } = taken);
      given += 700;
    }
    expect(given).toBeLessThanOrEqual(2_000 + 700 + 0.2 * rate * seconds);
    expect(given).toBeGreaterThan(0.99 * 0.2 * rate * seconds);
  });

  it("saves up no more than the burst, whatever is given back and however long it waits", ({
    expect,
  }) => {
    const budget = giveBackPrefill({ tokens: 1_500, atMs: 0 }, 9_000);
    expect(take(budget, 2_000, 0)).toEqual({ kind: "taken", budget: { tokens: 0, atMs: 0 } });
    const late = take({ tokens: 0, atMs: 0 }, 2_000, 1_000_000_000);
    expect(late).toMatchObject({ kind: "taken", budget: { tokens: 0 } });
  });

  it("does not shrink when the clock goes back", ({ expect }) => {
    expect(take({ tokens: 100, atMs: 1_000 }, 100, 0)).toMatchObject({ kind: "taken" });
  });

  it("takes nothing for a prompt of no tokens", ({ expect }) => {
    expect(take({ tokens: 0, atMs: 0 }, 0, 0)).toMatchObject({ kind: "taken" });
  });
});

describe("a shard's prefill", () => {
  it("is that of its fastest answer, and fades when answers are slower", ({ expect }) => {
    const first = measurePrefill(null, { uncachedTokens: 1_000, ttftMs: 100 }, policy);
    expect(first).toBe(10_000);
    const slower = measurePrefill(first, { uncachedTokens: 1_000, ttftMs: 1_000 }, policy);
    expect(slower).toBeCloseTo(9_100);
    expect(measurePrefill(slower, { uncachedTokens: 600, ttftMs: 50 }, policy)).toBe(12_000);
  });

  it.for([
    [511, 10],
    [1_000, 0],
    [1_000, Number.NaN],
    [-5, 10],
  ])("is not measured by %i tokens in %d ms", ([uncachedTokens = 0, ttftMs = 0], { expect }) => {
    expect(measurePrefill(null, { uncachedTokens, ttftMs }, policy)).toBeNull();
    expect(measurePrefill(7, { uncachedTokens, ttftMs }, policy)).toBe(7);
  });
});
