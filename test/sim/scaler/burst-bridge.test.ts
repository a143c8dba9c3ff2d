import { describe, expect, it } from "vitest";
import { aPool, desiredOf, leastOf, Region, spotPools, turnsOf } from "./region.ts";

const slow = aPool({ coldStartSeconds: 260 });
const quick = aPool({
  id: "quick",
  platform: "modal",
  coldStartSeconds: 20,
  pricePerHourMicroUsd: 2_500_000,
  replicasMin: 0,
});

/** Steady load, then a jump that the slow pool needs minutes for. */
async function beforeTheJump(pools = [slow, quick]): Promise<Region> {
  const region = new Region(pools, { od: 5 }, [{ cell: "a" }, { cell: "b" }]);
  region.platform.startMs = 260_000;
  region.platform.startMsOf.set("quick", 20_000);
  region.load = () => ({ protected: 2.5 });
  await region.run(30);
  return region;
}

describe("replicas that start soon, until others have started", () => {
  it("are there within half a minute of a jump, and go when the others answer", async () => {
    const region = await beforeTheJump();
    expect(region.desired("quick")).toBe(0);
    const before = region.desired("od");
    region.load = () => ({ protected: 7 });
    await region.run(0.75);
    const bridged = region.ready("quick");
    expect(bridged + region.ready("od")).toBeGreaterThanOrEqual(7 / 0.85);
    expect(region.ready("od")).toBe(before);
    expect(region.lastPlan()?.text).toContain("of them until others start");
    await region.run(30);
    expect(region.desired("quick")).toBe(0);
    expect(region.ready("od")).toBeGreaterThanOrEqual(10);
    expect(turnsOf(region, "quick")).toBe(1);
    expect(turnsOf(region, "od")).toBe(0);
  });

  it("do not make the plan of the load any smaller", async () => {
    const [bridged, alone] = [await beforeTheJump(), await beforeTheJump([slow])];
    for (const region of [bridged, alone]) {
      region.load = () => ({ protected: 7 });
      await region.run(4);
    }
    expect(bridged.desired("od")).toBe(alone.desired("od"));
  });

  it("hold what spot held when it is called back", async () => {
    const region = await beforeTheJump([slow, quick, ...spotPools]);
    region.load = () => ({ protected: 2.5, other: 6 });
    await region.run(60);
    expect(desiredOf(region, spotPools)).toBeGreaterThanOrEqual(5);
    expect(region.desired("quick")).toBe(0);
    for (const { id } of spotPools) region.platform.reclaim(id);
    await region.run(1.5);
    expect(region.ready("quick")).toBeGreaterThan(0);
    expect(region.ready("quick") + region.ready("od")).toBeGreaterThanOrEqual(8.5 / 0.85);
    for (const { id } of spotPools) region.platform.giveBack(id);
    await region.run(60);
    expect(region.desired("quick")).toBe(0);
  });

  it("stay while a cell tells nothing, since there may be more than is known", async () => {
    const region = await beforeTheJump();
    const [leader] = region.leaders.keys();
    const other = leader === "a" ? "b" : "a";
    region.stopped.add(other);
    await region.run(3);
    region.load = () => ({ protected: 14 });
    await region.run(1);
    const bridged = region.desired("quick");
    expect(bridged).toBeGreaterThan(0);
    region.load = () => ({ protected: 1 });
    await region.run(5);
    expect(region.desired("quick")).toBeGreaterThanOrEqual(bridged);
    region.stopped.clear();
    await region.run(5);
    expect(region.desired("quick")).toBe(0);
  });

  it("are known to the next leader, who lets them go", async () => {
    const region = await beforeTheJump();
    region.load = () => ({ protected: 7 });
    await region.run(1);
    const bridged = region.desired("quick");
    expect(bridged).toBeGreaterThan(0);
    const [leader] = region.leaders.keys();
    region.stopped.add(leader ?? "");
    region.load = () => ({ protected: 3.5 });
    await region.run(1);
    expect(region.leaders.size).toBe(2);
    region.stopped.clear();
    await region.run(30);
    expect(region.desired("quick")).toBe(0);
    expect(leastOf(region, "od")).toBeGreaterThanOrEqual(5);
  });

  it("that do not come are asked for once, keep no other from growing, and go when they come late", async () => {
    const region = await beforeTheJump();
    region.platform.deliver = (pool, replicas) => (pool === "quick" ? 0 : replicas);
    region.load = () => ({ protected: 7 });
    await region.run(30);
    expect(region.ready("od")).toBeGreaterThanOrEqual(10);
    const orders = region.platform.orders.filter(({ pool }) => pool === "quick");
    expect(orders.length).toBeLessThanOrEqual(2);
    region.platform.deliver = (_, replicas) => replicas;
    region.platform.giveBack("quick");
    await region.run(90);
    expect(region.desired("quick")).toBe(0);
    expect(turnsOf(region, "quick")).toBe(1);
  });

  it("are not asked for where all start alike", async () => {
    const region = await beforeTheJump([slow, { ...quick, coldStartSeconds: 260 }]);
    region.load = () => ({ protected: 7 });
    await region.run(2);
    expect(region.plans.every(({ pools }) => pools.every(({ bridge }) => bridge === 0))).toBe(true);
  });
});
