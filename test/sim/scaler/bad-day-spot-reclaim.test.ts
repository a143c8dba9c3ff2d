import { describe, expect, it } from "vitest";
import { Region, aPool, desiredOf, leastOf, spotPools, steepestGrowth, turnsOf } from "./region.ts";

const pools = [aPool(), ...spotPools];

async function aRegionWithSpot(): Promise<Region> {
  const region = new Region(pools, { od: 4, "spot-a": 1, "spot-b": 1, "spot-c": 1 });
  region.load = () => ({ protected: 1, other: 2.5 });
  await region.run(40);
  return region;
}

describe("all spot capacity reclaimed at once", () => {
  it("leaves critical and interactive work on firm replicas", async () => {
    const region = await aRegionWithSpot();
    const { firm = 0 } = region.lastPlan() ?? {};
    expect(region.ready("od")).toBeGreaterThanOrEqual(firm);
    expect(firm).toBeGreaterThanOrEqual(3);
  });

  it("is replaced by on-demand replicas within a minute, in steps that are no storm", async () => {
    const region = await aRegionWithSpot();
    const before = region.desired("od");
    const wantedSpot = desiredOf(region, spotPools);
    for (const { id } of spotPools) region.platform.reclaim(id);
    await region.run(1);
    expect(region.desired("od")).toBeGreaterThan(before);
    // What was taken is not given up: it comes back by itself when there is some again.
    expect(desiredOf(region, spotPools)).toBe(wantedSpot);
    await region.run(30);
    expect(region.ready("od")).toBeGreaterThanOrEqual(before + 1);
    expect(steepestGrowth(region, 120_000)).toBeLessThanOrEqual(2);
  });

  it("does not swing back and forth when spot comes and goes", async () => {
    const region = await aRegionWithSpot();
    for (let round = 0; round < 6; round += 1) {
      for (const { id } of spotPools) region.platform.reclaim(id);
      await region.run(5);
      for (const { id } of spotPools) region.platform.giveBack(id);
      await region.run(7);
    }
    expect(leastOf(region, "od")).toBeGreaterThanOrEqual(4);
    expect(turnsOf(region, "od")).toBeLessThanOrEqual(1);
  });

  it("never leaves the region to spot alone, however cheap", async () => {
    const region = new Region(pools, { od: 1 });
    region.load = () => ({ protected: 2, other: 0 });
    await region.run(60);
    expect(desiredOf(region, spotPools)).toBe(0);
    expect(region.ready("od")).toBeGreaterThanOrEqual(4);
  });
});
