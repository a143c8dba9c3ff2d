import { describe, expect, it } from "vitest";
import { planRegion, planSteps } from "#dev/capacity/region-plan.ts";
import { profiles } from "#dev/simulated-engine/model/profiles.ts";
import type { FleetOffer } from "#dev/capacity/elastic-fleet.ts";

const shares = { critical: 0.15, interactive: 0.25, standard: 0.4, batch: 0.2 };
const region = { name: "here", demandShare: 0.5, priceFactor: 2, replicasMin: 2 };
const coldStart = { medianSeconds: 1, sigma: 0, slowShare: 0, slowMedianSeconds: 1 };

function speed(name: string, change: Partial<FleetOffer> = {}) {
  const offer: FleetOffer = {
    name,
    kind: "onDemand",
    profile: profiles["a100-8b"],
    concurrentRequestsMax: 8,
    usdPerHour: 3,
    replicasMax: 1_000,
    coldStart,
    reclaim: null,
    source: "a test",
    asOf: "2026-11",
    ...change,
  };
  const batch = { sequences: 8, boundBy: "slots" } as const;
  return { offer, requestsPerSecond: 1, unitsPerReplica: 1, batch };
}

describe("the plan of a region", () => {
  it("is ready for what the forecast said a step before, and for what came in any case", () => {
    const steps = planSteps([10, 10, 10, 40], shares);
    expect(steps.map(({ ahead }) => ahead.all)).toStrictEqual([10, 10, 10, 40]);
    const wave = Array.from({ length: 300 }, (_, at) => 100 + 40 * Math.sin(at / 3));
    for (const { ahead, demand } of planSteps(wave, shares).slice(1))
      expect(ahead.all).toBeGreaterThanOrEqual(demand);
  });

  it("serves the region's share at 70 % and pays the region's prices", () => {
    const { peak, usdPerHourMean } = planRegion(region, planSteps([140, 140], shares), 2, [
      speed("firm"),
    ]);
    expect(peak.demand).toBe(140);
    expect(peak.replicas).toStrictEqual({ firm: 200 });
    expect(usdPerHourMean).toBe(200 * 3 * 2);
  });

  it("never goes below the region's minimum", () => {
    expect(
      planRegion(region, planSteps([0], shares), 1, [speed("firm")]).peak.replicas,
    ).toStrictEqual({ firm: 2 });
  });

  it("has the mean of dear and cheap steps, and the dear one as its peak", () => {
    const plan = planRegion(region, planSteps([14, 140], shares), 2, [speed("firm")]);
    expect(plan.steps.map(({ replicas }) => replicas["firm"])).toStrictEqual([20, 200]);
    expect(plan.usdPerHourMean).toBe((220 / 2) * 3 * 2);
    expect(plan.peak.demand).toBe(140);
  });

  it("tells what cannot be had", () => {
    const few = speed("firm", { replicasMax: 50 });
    const { peak } = planRegion(region, planSteps([140], shares), 2, [few]);
    expect(peak.wantedUnits).toBe(200);
    expect(peak.boughtUnits).toBe(50);
  });
});
