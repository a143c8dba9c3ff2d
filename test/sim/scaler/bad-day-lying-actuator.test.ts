import { describe, expect, it } from "vitest";
import { Region, aPool, leastOf, minuteMs, spotPools, turnsOf } from "./region.ts";

const steady = () => ({ protected: 3 });

describe("a platform that says yes and does nothing", () => {
  it("is told the same again once a start should be over, not more and not less", async () => {
    const region = new Region([aPool()], { od: 2 });
    region.platform.answer = () => "applied";
    region.load = steady;
    await region.run(60);
    const told = region.platform.orders.map(({ replicas }) => replicas);
    expect(Math.max(...told)).toBeLessThanOrEqual(4);
    expect(Math.min(...told)).toBeGreaterThan(2);
    // At most one call each 10 s, whatever the plan wants.
    const gaps = region.platform.orders.map(
      ({ atMs }, index) => atMs - (region.platform.orders[index - 1]?.atMs ?? -Infinity),
    );
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(10_000);
  });

  it("loses its share to another pool, and does not get it back at once", async () => {
    const region = new Region([aPool(), aPool({ id: "modal", pricePerHourMicroUsd: 2_000_000 })], {
      od: 2,
      modal: 1,
    });
    region.platform.deliver = (pool, replicas) => (pool === "od" ? 2 : replicas);
    region.load = steady;
    await region.run(40);
    expect(region.ready("modal")).toBeGreaterThanOrEqual(4);
    expect(turnsOf(region, "od")).toBe(0);
    expect(turnsOf(region, "modal")).toBe(0);
  });

  it("that reports more than runs is believed only as far as replicas answer", async () => {
    const region = new Region([aPool()], { od: 4 });
    region.load = steady;
    await region.run(20);
    // One in two has died; the platform goes on wanting all.
    const wanted = region.desired("od");
    region.platform.reclaim("od", 2);
    await region.run(10);
    expect(region.lastPlan()?.there).toBeGreaterThanOrEqual(2);
    expect(region.desired("od")).toBeGreaterThanOrEqual(wanted);
    expect(leastOf(region, "od")).toBeGreaterThanOrEqual(4);
  });

  it("that reports nothing at all stops every change", async () => {
    const region = new Region([aPool()], { od: 4 });
    region.load = steady;
    await region.run(20);
    const before = region.platform.orders.length;
    region.platform.report = () => null;
    region.load = () => ({ protected: 0 });
    await region.run(60);
    expect(region.platform.orders).toHaveLength(before);
    expect(region.desired("od")).toBeGreaterThanOrEqual(4);
  });

  it("that reports zero for a moment is not scaled to what it said", async () => {
    const region = new Region([aPool(), ...spotPools], { od: 4, "spot-a": 1 });
    region.load = steady;
    await region.run(20);
    const wanted = region.desired("od");
    region.platform.report = (_, { desired }) => ({ desired, ready: 0 });
    await region.run(15_000 / minuteMs);
    region.platform.report = null;
    await region.run(20);
    expect(region.desired("od")).toBe(wanted);
    expect(leastOf(region, "od")).toBeGreaterThanOrEqual(4);
  });
});
