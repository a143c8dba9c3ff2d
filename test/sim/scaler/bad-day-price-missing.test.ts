import { describe, expect, it } from "vitest";
import { Region, aPool, leastOf } from "./region.ts";

const unpriced = aPool({ id: "other", pricePerHourMicroUsd: 0 });

describe("a price that nobody knows", () => {
  it("keeps things as they are where it would decide between pools, and says so", async () => {
    const region = new Region([aPool(), unpriced], { od: 2, other: 2 });
    region.load = () => ({ protected: 6 });
    await region.run(30);
    expect(region.platform.orders).toStrictEqual([]);
    expect(region.lastPlan()).toMatchObject({ reason: "priceMissing", replicas: 4 });
  });

  it("does not shrink what it cannot compare", async () => {
    const region = new Region([aPool(), unpriced], { od: 3, other: 3 });
    await region.run(60);
    expect(region.platform.orders).toStrictEqual([]);
  });

  it("does not matter where there is one pool", async () => {
    const region = new Region([unpriced], { other: 2 });
    region.load = () => ({ protected: 3 });
    await region.run(30);
    expect(region.desired("other")).toBeGreaterThanOrEqual(4);
  });

  it("does not keep a pool below its minimum", async () => {
    const region = new Region([aPool(), { ...unpriced, replicasMin: 3 }], { od: 2, other: 1 });
    await region.run(5);
    expect(region.desired("other")).toBe(3);
    expect(leastOf(region, "od")).toBe(2);
  });
});
