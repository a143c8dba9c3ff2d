import { describe, it } from "vitest";
import {
  defaultShedRatioPolicy,
  nothingShed,
  stepShedRatio,
} from "#shared/admission/shed-ratio.ts";
import type { ShedRatioState } from "#shared/admission/shed-ratio.ts";

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
