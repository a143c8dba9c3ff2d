import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { startSecondsOf } from "#shared/scaling/start-time.ts";

const many = (ms: number, count = 100): number[] => Array.from({ length: count }, () => ms);

describe("the time that a start is planned with", () => {
  it("is the declared one before any was measured", () => {
    expect(startSecondsOf([], 260)).toBe(260);
    expect(startSecondsOf([], 0)).toBe(0);
    expect(startSecondsOf([Number.NaN, -1, Infinity], 260)).toBe(260);
  });

  it("goes to the P95 of what was measured, the more of them there are", () => {
    const after = [1, 5, 20, 100].map((count) => startSecondsOf(many(130_000, count), 260));
    expect(after).toStrictEqual(after.toSorted((left, right) => right - left));
    // Five declared ones and five measured ones: the geometric mean.
    expect(after[1]).toBeCloseTo(Math.sqrt(130 * 260));
    expect(after[3]).toBeLessThan(136);
    const slowOnes = [...many(130_000, 90), ...many(400_000, 10)];
    expect(startSecondsOf(slowOnes, 260)).toBeGreaterThan(380);
    expect(startSecondsOf([...many(130_000, 98), ...many(400_000, 2)], 260)).toBeLessThan(136);
  });

  it("is never far from the declared one", () => {
    expect(startSecondsOf(many(86_400_000), 60)).toBe(240);
    expect(startSecondsOf(many(0), 60)).toBe(15);
  });

  it("is longer for longer starts, whatever was declared, and always some time", () => {
    const starts = fc.array(fc.integer({ min: 0, max: 4_000_000 }), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(
        starts,
        fc.integer({ min: 1, max: 3_600 }),
        fc.nat(100_000),
        (of, declared, by) => {
          const seconds = startSecondsOf(of, declared);
          expect(seconds).toBeGreaterThanOrEqual(declared / 4 - 1e-9);
          expect(seconds).toBeLessThanOrEqual(declared * 4 + 1e-9);
          const longer = of.map((one) => one + by);
          expect(startSecondsOf(longer, declared)).toBeGreaterThanOrEqual(seconds);
          expect(startSecondsOf(of.toReversed(), declared)).toBe(seconds);
        },
      ),
    );
  });
});
