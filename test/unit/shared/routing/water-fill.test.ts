import fc from "fast-check";
import { describe, it } from "vitest";
import { fillShares } from "#shared/routing/water-fill.ts";

const cells = (...loads: readonly number[]) => loads.map((load) => ({ load, capacity: 100 }));

describe("filling cells by loads that are old", () => {
  it("sends all to the emptiest while little came since", ({ expect }) => {
    expect(fillShares(cells(50, 20, 80), 1)).toEqual([0, 1, 0]);
    expect(fillShares(cells(50, 20, 80), 0)).toEqual([0, 1, 0]);
  });

  it("fills the emptiest up to the others' level, then all alike", ({ expect }) => {
    expect(fillShares(cells(50, 20, 80), 30)).toEqual([0, 1, 0]);
    // 60 more than what levels the first two: 30 each.
    const [first = 0, second = 0, third] = fillShares(cells(50, 20, 100), 90);
    expect(first).toBeCloseTo(30 / 90, 9);
    expect(second).toBeCloseTo(60 / 90, 9);
    expect(third).toBe(0);
  });

  it("comes to shares of capacity when much came since", ({ expect }) => {
    const shares = fillShares(
      [
        { load: 90, capacity: 100 },
        { load: 0, capacity: 300 },
      ],
      1e9,
    );
    expect(shares[0]).toBeCloseTo(0.25, 5);
    expect(shares[1]).toBeCloseTo(0.75, 5);
  });

  it("shares alike between equals, of whatever is asked of them", ({ expect }) => {
    expect(fillShares(cells(70, 70), 5)).toEqual([0.5, 0.5]);
    expect(fillShares(cells(70), 5)).toEqual([1]);
    expect(fillShares([], 5)).toEqual([]);
  });

  it("always adds up to all of it, and gives a fuller cell no more than an emptier one", ({
    expect,
  }) => {
    const target = fc.record({ load: fc.nat(500), capacity: fc.integer({ min: 1, max: 500 }) });
    const amount = fc.oneof(fc.nat(5_000), fc.double({ min: 0, max: 10, noNaN: true }));
    fc.assert(
      fc.property(fc.array(target, { minLength: 1, maxLength: 12 }), amount, (targets, arrived) => {
        const shares = fillShares(targets, arrived);
        const sum = shares.reduce((total, share) => total + share, 0);
        expect(sum).toBeCloseTo(1, 6);
        expect(shares.every((share) => share >= 0)).toBe(true);
        const perCapacity = targets.map(({ capacity, load }, at) => ({
          level: load / capacity,
          share: (shares[at] ?? 0) / capacity,
        }));
        for (const one of perCapacity)
          for (const other of perCapacity)
            if (one.level < other.level)
              expect(one.share).toBeGreaterThanOrEqual(other.share - 1e-9);
      }),
    );
  });
});
