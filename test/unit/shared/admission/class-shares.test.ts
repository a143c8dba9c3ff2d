import * as fc from "fast-check";
import { describe, it } from "vitest";
import { rateOf, shareIn, shareOut, tenantCap } from "#shared/admission/class-shares.ts";
import type { ClassRates } from "#shared/admission/class-shares.ts";
import { priorities } from "#shared/config/topology.ts";

function rates(critical: number, interactive: number, standard: number, batch: number): ClassRates {
  return { critical, interactive, standard, batch };
}

const aRate = fc.integer({ min: 0, max: 1_000 });
const someRates = fc.tuple(aRate, aRate, aRate, aRate).map((of) => rates(...of));
const tenants = fc.array(someRates, { minLength: 1, maxLength: 12 });
const capacities = fc.integer({ min: 1, max: 10_000 });

function keptOf(tenant: ClassRates, shares: ReturnType<typeof shareOut>): readonly number[] {
  return priorities.map((priority) => shareIn(tenant, priority, shares));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

describe("the shares of classes and tenants", () => {
  it("add up to what can be done, or to all that is asked for", ({ expect }) => {
    fc.assert(
      fc.property(tenants, capacities, (asked, capacity) => {
        const shares = shareOut(asked, capacity);
        const kept = sum(asked.map((one) => sum(keptOf(one, shares))));
        const wanted = Math.min(capacity, sum(asked.map(rateOf)));
        expect(Math.abs(kept - wanted)).toBeLessThan(1e-6 * capacity);
      }),
    );
  });

  it("give nobody more than it asks for, nor more than its cap", ({ expect }) => {
    fc.assert(
      fc.property(tenants, capacities, (asked, capacity) => {
        const shares = shareOut(asked, capacity);
        for (const one of asked) {
          const kept = keptOf(one, shares);
          for (const [index, priority] of priorities.entries()) {
            expect(kept[index]).toBeLessThanOrEqual(one[priority]);
          }
          expect(sum(kept)).toBeLessThanOrEqual(shares.cap * (1 + 1e-9));
        }
      }),
    );
  });

  it("give all that is asked for by whoever asks for no more than a quarter and its share, if nobody is capped by classes", ({
    expect,
  }) => {
    // Four tenants at most: the level is above a quarter, and the cap is the max-min share.
    const few = fc.array(someRates, { minLength: 2, maxLength: 4 });
    fc.assert(
      fc.property(few, capacities, (asked, capacity) => {
        const shares = shareOut(asked, capacity);
        for (const one of asked) {
          if (rateOf(one) > shares.cap) continue;
          expect(Math.abs(sum(keptOf(one, shares)) - rateOf(one))).toBeLessThan(1e-6 * capacity);
        }
      }),
    );
  });

  it("do not depend on the order of tenants", ({ expect }) => {
    fc.assert(
      fc.property(tenants, capacities, fc.infiniteStream(fc.nat()), (asked, capacity, keys) => {
        const shuffled = asked
          .map((one) => ({ one, key: keys.next().value }))
          .toSorted((left, right) => left.key - right.key)
          .map(({ one }) => one);
        const [straight, other] = [shareOut(asked, capacity), shareOut(shuffled, capacity)];
        expect(other.cap).toBeCloseTo(straight.cap, 6);
        for (const priority of priorities) {
          const [left, right] = [straight.levels[priority], other.levels[priority]];
          if (Number.isFinite(left)) expect(right).toBeCloseTo(left, 6);
          else expect(right).toBe(left);
        }
      }),
    );
  });

  it("are the classes' alone while nobody asks for more than a quarter", ({ expect }) => {
    const asked = Array.from({ length: 10 }, () => rates(5, 10, 20, 10));
    const shares = shareOut(asked, 250);
    expect(shares.hasExcess).toBe(false);
    // 50 critical and 100 interactive fit; ten tenants share the rest for 200 standard.
    expect(shares.levels).toEqual({
      critical: Infinity,
      interactive: Infinity,
      standard: 10,
      batch: 0,
    });
  });

  it("let one tenant alone have everything, and name no excess where all fit", ({ expect }) => {
    expect(tenantCap([5_000], 100)).toBe(100);
    const [own] = [rates(0, 500, 0, 0)];
    expect(sum(keptOf(own, shareOut([own], 100)))).toBe(100);
    expect(shareOut([own, rates(1, 1, 1, 1)], 504)).toMatchObject({
      cap: Infinity,
      hasExcess: false,
    });
    expect(shareOut([], 0).hasExcess).toBe(false);
  });

  it("leave a flood of critical work a quarter, where many others ask for little", ({ expect }) => {
    const others = Array.from({ length: 50 }, () => rates(0, 0, 2, 0));
    const flood = rates(10_000, 0, 0, 0);
    const shares = shareOut([...others, flood], 100);
    expect(shares.cap).toBe(25);
    expect(keptOf(flood, shares)).toEqual([25, 0, 0, 0]);
    expect(sum(others.map((one) => sum(keptOf(one, shares))))).toBeCloseTo(75);
  });
});
