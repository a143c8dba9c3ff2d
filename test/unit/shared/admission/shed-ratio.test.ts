import { describe, it } from "vitest";
import { ShedCohorts, shedRank } from "#shared/admission/shed-cohorts.ts";
import {
  defaultShedRatioPolicy,
  nothingShed,
  stepShedRatio,
} from "#shared/admission/shed-ratio.ts";
import type { ShedRatioState } from "#shared/admission/shed-ratio.ts";
import { priorities } from "#shared/config/topology.ts";

const policy = defaultShedRatioPolicy;

interface Run {
  readonly ratios: readonly number[];
  readonly queue: number;
}

/** Arrivals of `offered(t)` a period at a server that takes `capacity`, what is shed left out, in virtual time. */
function run(offered: (period: number) => number, capacity: number, periods: number): Run {
  let state: ShedRatioState = nothingShed;
  let queue = 0;
  const ratios: number[] = [];
  for (let period = 0; period < periods; period += 1) {
    const arrived = offered(period) * (1 - state.ratio);
    const dispatched = Math.min(queue + arrived, capacity);
    // What waits for longer than a second leaves: queues are bounded in age.
    queue = Math.min(4 * capacity, queue + arrived - dispatched);
    const isLate = queue > 1.2 * capacity;
    const freeSlots = capacity - dispatched;
    state = stepShedRatio(state, { arrived, dispatched, freeSlots, isLate }, policy);
    ratios.push(state.ratio);
  }
  return { ratios, queue };
}

describe("the share that is shed", () => {
  it("comes to what is too much, and stays there", ({ expect }) => {
    const { ratios } = run(() => 300, 100, 400);
    const settled = ratios.slice(200);
    const mean = settled.reduce((sum, ratio) => sum + ratio, 0) / settled.length;
    expect(Math.abs(mean - 2 / 3)).toBeLessThan(0.05);
    expect(Math.max(...settled) - Math.min(...settled)).toBeLessThan(0.12);
  });

  it("is nothing while the capacity suffices, and for a burst that the queue absorbs", ({
    expect,
  }) => {
    expect(Math.max(...run(() => 90, 100, 200).ratios)).toBe(0);
    expect(Math.max(...run((period) => (period === 3 ? 200 : 50), 100, 200).ratios)).toBe(0);
  });

  it("is gone within ten seconds of the overload's end", ({ expect }) => {
    const { ratios } = run((period) => (period < 200 ? 300 : 50), 100, 240);
    expect(ratios[199]).toBeGreaterThan(0.5);
    expect(ratios[239]).toBe(0);
  });

  it("moves by no more than a tenth in a period, and never sheds all", ({ expect }) => {
    const { ratios } = run(() => 100_000, 1, 200);
    ratios.reduce((before, ratio) => {
      expect(Math.abs(ratio - before)).toBeLessThanOrEqual(policy.stepMax + 1e-9);
      return ratio;
    }, 0);
    expect(Math.max(...ratios)).toBe(policy.ratioMax);
  });

  it("falls when nobody comes any more", ({ expect }) => {
    let state: ShedRatioState = { ...nothingShed, ratio: 0.9, error: 1, arrived: 9 };
    const nobody = { arrived: 0, dispatched: 0, freeSlots: 3, isLate: false };
    for (let period = 0; period < 60; period += 1) state = stepShedRatio(state, nobody, policy);
    expect(state.ratio).toBe(0);
  });
});

function subject(user: string, changes: Partial<Parameters<typeof shedRank>[0]> = {}) {
  return { tenant: "t", user, priority: "standard", isLaterTurn: false, ...changes } as const;
}

describe("who is shed", () => {
  it("is ranked by class, then first turns before later ones, then the user's cohort", ({
    expect,
  }) => {
    const ranks = priorities.flatMap((priority) =>
      [true, false].map((isLaterTurn) => shedRank(subject("u", { priority, isLaterTurn }), 0)),
    );
    expect(ranks).toEqual(ranks.toSorted((left, right) => left - right));
    expect(new Set(ranks).size).toBe(8);
    expect(Math.max(...ranks)).toBeLessThan(256);
  });

  it("is the same user for an hour, and another one in the next", ({ expect }) => {
    const ranks = [0, 1_000, 3_599_999].map((nowMs) => shedRank(subject("u"), nowMs));
    expect(new Set(ranks).size).toBe(1);
    const users = Array.from({ length: 64 }, (_, index) => `u${index}`);
    const moved = users.filter(
      (user) => shedRank(subject(user), 0) !== shedRank(subject(user), 3_600_000),
    );
    expect(moved.length).toBeGreaterThan(48);
  });

  it("is the share asked for, least important first, and critical never", ({ expect }) => {
    const cohorts = new ShedCohorts();
    const arrivals = priorities.flatMap((priority) =>
      Array.from({ length: 500 }, (_, index) => subject(`u${index}`, { priority })),
    );
    for (const one of arrivals) cohorts.arrived(shedRank(one, 0), 0);
    let seed = 1;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    const shedAt = (ratio: number) =>
      arrivals.filter((one) => cohorts.isShed(shedRank(one, 0), ratio, 0, random));
    expect(shedAt(0)).toEqual([]);
    const third = shedAt(0.35);
    expect(Math.abs(third.length / arrivals.length - 0.35)).toBeLessThan(0.02);
    expect(third.filter(({ priority }) => priority === "batch")).toHaveLength(500);
    expect(third.every(({ priority }) => priority === "batch" || priority === "standard")).toBe(
      true,
    );
    expect(shedAt(0.95).some(({ priority }) => priority === "critical")).toBe(false);
  });

  it("is judged by the arrivals of the last ten seconds", ({ expect }) => {
    const cohorts = new ShedCohorts();
    const batch = shedRank(subject("b", { priority: "batch" }), 0);
    const standard = shedRank(subject("s"), 0);
    for (let count = 0; count < 100; count += 1) cohorts.arrived(batch, 0);
    cohorts.arrived(standard, 9_000);
    expect(cohorts.isShed(standard, 0.5, 9_000, () => 0)).toBe(false);
    cohorts.arrived(standard, 10_000);
    expect(cohorts.isShed(standard, 0.5, 10_000, () => 0)).toBe(true);
  });
});
