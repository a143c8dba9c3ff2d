import { describe, expect, it } from "vitest";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { coldStartQuantile, drawColdStart } from "#shared/scaling/fleet-cold-start.ts";

const cold = { medianSeconds: 260, sigma: 0.35, slowShare: 0.05, slowMedianSeconds: 525 };

describe("a cold start", () => {
  it("is drawn from the distribution whose quantiles are told", () => {
    const random = seededRandom(1);
    const drawn = Array.from({ length: 20_000 }, () => drawColdStart(cold, random)).toSorted(
      (left, right) => left - right,
    );
    for (const quantile of [0.1, 0.5, 0.95, 0.99]) {
      const told = coldStartQuantile(cold, quantile);
      expect((drawn[Math.ceil(quantile * drawn.length) - 1] ?? 0) / told).toBeCloseTo(1, 1);
    }
  });

  it("takes the slow path as often as told", () => {
    const random = seededRandom(2);
    const exact = { medianSeconds: 10, sigma: 0, slowShare: 0.2, slowMedianSeconds: 400 };
    const drawn = Array.from({ length: 5_000 }, () => drawColdStart(exact, random));
    expect(new Set(drawn)).toStrictEqual(new Set([10, 400]));
    expect(drawn.filter((seconds) => seconds === 400).length / 5_000).toBeCloseTo(0.2, 1);
  });

  it("has its median in the middle without a slow path", () => {
    expect(coldStartQuantile({ ...cold, slowShare: 0 }, 0.5)).toBeCloseTo(260, 1);
    expect(coldStartQuantile({ ...cold, slowShare: 0 }, 0.95)).toBeCloseTo(
      260 * Math.exp(0.35 * 1.6449),
      0,
    );
  });
});
