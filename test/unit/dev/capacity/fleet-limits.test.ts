import { describe, expect, it } from "vitest";
import { fleetLimits, waitP99 } from "#dev/capacity/fleet-limits.ts";
import type { FleetOffer } from "#dev/capacity/elastic-fleet.ts";
import { planRegion, planSteps } from "#dev/capacity/region-plan.ts";
import { profiles } from "#dev/simulated-engine/model/profiles.ts";

const shares = { critical: 0.15, interactive: 0.25, standard: 0.4, batch: 0.2 };
const region = { name: "here", demandShare: 1, priceFactor: 1, replicasMin: 2 };
const shape = {
  inputTokensMean: 1_000,
  inputTokensP99: 4_000,
  outputTokensMean: 200,
  contextTokensMost: 9_000,
};

function speed(change: Partial<FleetOffer> = {}) {
  const offer: FleetOffer = {
    name: "firm",
    kind: "onDemand",
    profile: profiles["a100-8b"],
    concurrentRequestsMax: 96,
    usdPerHour: 3,
    replicasMax: 1_000,
    coldStart: { medianSeconds: 270, sigma: 0, slowShare: 0, slowMedianSeconds: 270 },
    reclaim: null,
    source: "a test",
    asOf: "2026-11",
    ...change,
  };
  const batch = { sequences: 96, boundBy: "slots" } as const;
  return { offer, requestsPerSecond: 7, unitsPerReplica: 1, batch };
}

function limits(units: readonly number[], speeds = [speed()], change: Partial<typeof shape> = {}) {
  const plan = planRegion(region, planSteps(units, shares), 1, speeds);
  const found = fleetLimits({ plan, speeds, shape: { ...shape, ...change }, dispersion: 8 });
  return new Map(found.map(({ name, ...rest }) => [name, rest]));
}

describe("the limits of a plan", () => {
  it("hold with room at a steady demand", () => {
    for (const { use } of limits([20, 20, 20]).values()) expect(use).toBeLessThan(1);
  });

  it("break at the quota, and then in the queue", () => {
    const few = limits([20, 20], [speed({ replicasMax: 25 })]);
    expect(few.get("quota")?.use).toBeGreaterThan(1);
    expect(few.get("quota")?.detail).toContain("29 units wanted, 25 can be had");
    expect(few.get("queueWait")?.use).toBeLessThan(1);
    expect(limits([20, 20], [speed({ replicasMax: 20 })]).get("queueWait")?.use).toBe(Infinity);
  });

  it("break where prompts take longer to compute than was promised", () => {
    const long = limits([20, 20], [speed()], { inputTokensP99: 40_000 });
    expect(long.get("queueWait")?.use).toBeGreaterThan(1);
    expect(long.get("queueWait")?.detail).toContain("prefill 3.1 s");
  });

  it("break at a request that no replica's memory holds", () => {
    const large = limits([20, 20], [speed()], { contextTokensMost: 500_000 });
    expect(large.get("kvMemory")?.use).toBe(1.25);
    expect(large.get("kvMemory")?.detail).toContain("the longest request has 500000 tokens");
  });

  it("break where demand grows faster than replicas start, unless burst replicas bridge it", () => {
    const steep = [20, 80];
    expect(limits(steep).get("coldStart")?.use).toBeGreaterThan(1);
    expect(limits(steep).get("coldStart")?.detail).toContain("grows 4 times");
    const coldStart = { medianSeconds: 20, sigma: 0, slowShare: 0, slowMedianSeconds: 20 };
    const burst = speed({ name: "burst", kind: "burst", usdPerHour: 9, coldStart });
    expect(limits(steep, [speed(), burst]).get("coldStart")?.use).toBeLessThan(1);
    const few = speed({ name: "burst", kind: "burst", usdPerHour: 9, coldStart, replicasMax: 2 });
    expect(limits(steep, [speed(), few]).get("coldStart")?.use).toBeGreaterThan(1);
  });
});

describe("the wait for a replica", () => {
  it("is M/M/1's with one replica and Poisson arrivals", () => {
    // P(wait > t) = load * exp(-(1 - load) t / s): P99 at load 0.8 and s = 1.
    expect(waitP99(0.8, 1, 1, 1)).toBeCloseTo(Math.log(80) / 0.2, 0);
  });

  it("shrinks with more replicas at the same load, and grows with bursts", () => {
    expect(waitP99(70, 100, 1, 1)).toBe(0);
    expect(waitP99(7, 10, 1, 8)).toBeGreaterThan(waitP99(7, 10, 1, 1));
  });

  it("has no end beyond what is there", () => {
    expect(waitP99(2, 2, 1, 1)).toBe(Infinity);
    expect(waitP99(3, 2, 1, 1)).toBe(Infinity);
  });
});
