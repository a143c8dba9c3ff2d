import { expect, test } from "vitest";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { drawArrivals, rateAt } from "./demand-flow.ts";

test("rates go straight from the middle of a step to the next one's, and silence stays silence", () => {
  const days = { rates: [10, 30, 0, 20], dispersion: [1, 1, 1, 1] };
  expect(rateAt(days, 0)).toBe(10);
  expect(rateAt(days, 300_000)).toBe(10);
  expect(rateAt(days, 600_000)).toBe(20);
  expect(rateAt(days, 900_000)).toBe(30);
  expect(rateAt(days, 1_500_000)).toBe(0);
  expect(rateAt(days, 2_399_000)).toBe(20);
});

test.each([1, 8, 40])("arrivals have the rate's mean and the dispersion %d", (dispersion) => {
  const days = { rates: [20], dispersion: [dispersion] };
  const random = seededRandom(5);
  const drawn = Array.from({ length: 20_000 }, () => drawArrivals(days, 2, 0, 6_000, random));
  const mean = drawn.reduce((sum, one) => sum + one, 0) / drawn.length;
  const variance = drawn.reduce((sum, one) => sum + (one - mean) ** 2, 0) / drawn.length;
  expect(mean / 240).toBeCloseTo(1, 1);
  expect(variance / mean / dispersion).toBeCloseTo(1, 1);
});

test("nothing comes in silence", () => {
  expect(drawArrivals({ rates: [0], dispersion: [1] }, 1, 0, 6_000, seededRandom(1))).toBe(0);
});
