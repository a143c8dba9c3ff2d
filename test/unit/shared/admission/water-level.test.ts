import * as fc from "fast-check";
import { describe, it } from "vitest";
import { waterLevel } from "#shared/admission/water-level.ts";

const demands = fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 1, maxLength: 40 });

describe("a water level", () => {
  it("is what the greedy get once the modest have all that they ask for", ({ expect }) => {
    expect(waterLevel([10, 100, 1_000], 70)).toBe(30);
    expect(waterLevel([10, 20, 1_000], 90)).toBe(60);
    expect(waterLevel([50, 50], 60)).toBe(30);
  });

  it("is none where all fit, and where nobody asks", ({ expect }) => {
    expect(waterLevel([10, 20], 30)).toBe(Infinity);
    expect(waterLevel([], 0)).toBe(Infinity);
  });

  it("is nothing without capacity", ({ expect }) => {
    expect(waterLevel([10, 20], 0)).toBe(0);
    expect(waterLevel([10], -5)).toBe(0);
  });

  it("uses up the capacity", ({ expect }) => {
    fc.assert(
      fc.property(demands, fc.integer({ min: 0, max: 40_000 }), (asked, capacity) => {
        const level = waterLevel(asked, capacity);
        const given = asked.reduce((sum, demand) => sum + Math.min(demand, level), 0);
        const total = asked.reduce((sum, demand) => sum + demand, 0);
        expect(given).toBeCloseTo(Math.min(total, capacity), 6);
      }),
    );
  });
});
