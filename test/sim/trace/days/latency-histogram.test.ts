import { expect, test } from "vitest";
import { createLatencyHistogram } from "./latency-histogram.ts";

test("quantiles are within a bucket of 4 %", () => {
  const histogram = createLatencyHistogram();
  for (let at = 1; at <= 1_000; at += 1) histogram.add(at / 100, 1);
  for (const quantile of [0.1, 0.5, 0.99]) {
    const told = histogram.quantile(quantile) / (10 * quantile);
    expect(told).toBeGreaterThanOrEqual(1 - 1e-9);
    expect(told).toBeLessThan(1.05);
  }
});

test("amounts are kept whatever the seconds, and summed by merging", () => {
  const [one, other] = [createLatencyHistogram(), createLatencyHistogram()];
  one.add(0, 2);
  one.add(1e9, 3);
  other.add(0.5, 5);
  one.merge(other);
  expect(one.total()).toBe(10);
  expect(one.quantile(0.7)).toBeCloseTo(0.5, 1);
  expect(createLatencyHistogram().quantile(0.99)).toBe(0);
});
