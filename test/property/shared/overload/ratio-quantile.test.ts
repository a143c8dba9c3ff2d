import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emptyRatios, ratioP95, withRatio } from "#shared/overload/ratio-quantile.ts";

const ratio = fc
  .oneof(fc.double({ min: 0, max: 100, noNaN: true }), fc.constantFrom(1, 1, 2), fc.double())
  // Of two zeros no order is asked.
  .map((one) => (one === 0 ? 0 : one));

describe("the window of ratios", () => {
  it("keeps the last hundred in order, whatever came before", () => {
    fc.assert(
      fc.property(fc.array(ratio, { maxLength: 300 }), (ratios) => {
        const window = ratios.reduce(withRatio, emptyRatios);
        const last = ratios.filter((one) => Number.isFinite(one) && one >= 0).slice(-100);
        const sorted = last.toSorted((one, other) => one - other);
        expect(window.sorted).toEqual(sorted);
        const at = Math.ceil(0.95 * sorted.length) - 1;
        expect(ratioP95(window)).toBe(sorted.length < 20 ? null : sorted[at]);
      }),
    );
  });
});
