import { describe, expect, it } from "vitest";
import { aPool, leastOf, Region, spotPools, steepestGrowth, turnsOf } from "./region.ts";

const pools = [
  aPool({ id: "od-a", zones: ["a"], pricePerHourMicroUsd: 1_000_000 }),
  aPool({ id: "od-b", zones: ["b"] }),
];
const load = 4.5;
/** Replicas that hold the load at nine tenths. */
const enough = load / 0.9;

async function aRegionOfTwoZones(): Promise<Region> {
  const region = new Region(pools, { "od-a": 4, "od-b": 1 });
  region.load = () => ({ protected: load });
  await region.run(60);
  return region;
}

describe("the loss of a zone", () => {
  it("leaves enough for critical and interactive work in the other one, whichever is lost", async () => {
    const region = await aRegionOfTwoZones();
    for (const { id } of pools) expect(region.ready(id)).toBeGreaterThanOrEqual(enough);
    // Twice what has to be left and no more, though the plan of the load alone wants 8.
    expect(region.ready("od-a") + region.ready("od-b")).toBe(10);
    expect(region.plans.some(({ reason }) => reason === "zoneReserve")).toBe(true);
    expect(steepestGrowth(region, 120_000)).toBeLessThanOrEqual(2);
    for (const { id } of pools) expect(turnsOf(region, id)).toBe(0);
  });

  it("is no storm, and its end gives back what was taken for it", async () => {
    const region = await aRegionOfTwoZones();
    region.platform.deliver = (pool, replicas) => (pool === "od-a" ? 0 : replicas);
    region.platform.reclaim("od-a");
    await region.run(60);
    // The plan of the load, less the minimum that the lost zone's pool is still told to have.
    expect(region.ready("od-b")).toBeGreaterThanOrEqual(7);
    expect(region.ready("od-b")).toBeLessThanOrEqual(8);
    region.platform.deliver = (_, replicas) => replicas;
    region.platform.giveBack("od-a");
    await region.run(180);
    for (const { id } of pools) {
      expect(region.ready(id)).toBeGreaterThanOrEqual(enough);
      expect(leastOf(region, id)).toBeGreaterThanOrEqual(1);
      expect(turnsOf(region, id)).toBeLessThanOrEqual(1);
    }
    expect(region.ready("od-a") + region.ready("od-b")).toBeLessThanOrEqual(12);
  });

  it("is not provided for with spot, nor for work that may wait", async () => {
    const region = new Region([...pools, ...spotPools], { "od-a": 2, "od-b": 2 });
    region.load = () => ({ protected: 1.8, other: 6 });
    await region.run(90);
    const firm = region.ready("od-a") + region.ready("od-b");
    expect(Math.min(region.ready("od-a"), region.ready("od-b"))).toBeGreaterThanOrEqual(2);
    expect(firm).toBe(4);
  });

  it("in a region of one zone is not provided for: nothing would be left whatever there is", async () => {
    const region = new Region([aPool()], { od: 4 });
    region.load = () => ({ protected: load });
    await region.run(60);
    expect(region.ready("od")).toBe(8);
    expect(region.plans.some(({ reason }) => reason === "zoneReserve")).toBe(false);
  });

  it("is provided for as far as the other zone's pool may grow", async () => {
    const small = { ...pools[1], replicasMax: 2 };
    const region = new Region([aPool({ id: "od-a" }), aPool({ ...small, zones: ["b"] })], {
      "od-a": 4,
      "od-b": 1,
    });
    region.load = () => ({ protected: load });
    await region.run(60);
    expect(region.ready("od-b")).toBe(2);
    expect(region.ready("od-a") + region.ready("od-b")).toBe(8);
  });
});
