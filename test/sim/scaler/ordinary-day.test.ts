import { describe, expect, it } from "vitest";
import { Region, aPool, desiredOf, leastOf, spotPools, turnsOf } from "./region.ts";

describe("an ordinary day of a region's scaler", () => {
  it("follows demand up at once and down slowly, and turns once", async () => {
    const region = new Region([aPool()], { od: 2 });
    region.load = (minute) => ({ protected: minute < 60 ? 0.5 : minute < 180 ? 5 : 0.5 });
    await region.run(58);
    expect(region.desired("od")).toBe(2);
    await region.run(20);
    expect(region.ready("od")).toBeGreaterThanOrEqual(8);
    await region.run(222);
    expect(region.desired("od")).toBeLessThanOrEqual(3);
    expect(turnsOf(region, "od")).toBe(1);
  });

  it("keeps its minimum through a silent night", async () => {
    const region = new Region([aPool({ replicasMin: 2 })], { od: 4 });
    await region.run(240);
    expect(region.desired("od")).toBe(2);
    expect(leastOf(region, "od")).toBe(2);
  });

  it("puts no more than may wait on spot, and at most two fifths in one pool", async () => {
    const region = new Region([aPool(), ...spotPools], { od: 2 });
    region.load = () => ({ protected: 1, other: 4 });
    await region.run(90);
    const [onDemand, spot] = [region.desired("od"), desiredOf(region, spotPools)];
    expect(spot).toBeGreaterThan(0);
    for (const { id } of spotPools)
      expect(region.desired(id)).toBeLessThanOrEqual(Math.ceil(0.4 * (onDemand + spot)));
    expect(onDemand).toBeGreaterThanOrEqual(3);
  });

  it("counts on no spot while there are only two pools of it, and gives back what there is", async () => {
    const two = spotPools.slice(0, 2);
    const region = new Region([aPool(), ...two], { od: 2, "spot-a": 2 });
    region.load = () => ({ protected: 1, other: 4 });
    await region.run(90);
    expect(region.desired("od")).toBeGreaterThanOrEqual(8);
    expect(region.desired("od")).toBeLessThanOrEqual(12);
    expect(desiredOf(region, two)).toBe(2);
    expect(region.lastPlan()?.text).toContain("too few spot pools to count on");
    region.load = () => ({ protected: 1, other: 1 });
    await region.run(90);
    expect(desiredOf(region, two)).toBe(0);
    expect(turnsOf(region, "od")).toBe(1);
  });

  it("does not wait for word of a cell that has no shard of the model", async () => {
    const region = new Region([aPool()], { od: 4 }, [
      { cell: "a", isWithout: true },
      { cell: "b" },
    ]);
    await region.run(60);
    expect(region.desired("od")).toBe(1);
  });

  it("writes why, with the numbers, and nothing else", async () => {
    const region = new Region([aPool()], { od: 1 });
    region.load = () => ({ protected: 1.5 });
    await region.run(1);
    expect(region.plans[0]?.text).toMatch(
      /^1 to 2: demand rises; work 1\.50 protected \+ 0\.00, waiting 0\.00 s, firm 2; od 1 to 2$/,
    );
  });
});
