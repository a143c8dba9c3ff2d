import { describe, expect, it } from "vitest";
import { Region, aPool, turnsOf } from "./region.ts";

describe("a platform that wants fewer calls", () => {
  it("is asked less and less often while it refuses, and gets the order when it listens again", async () => {
    const region = new Region([aPool()], { od: 2 });
    region.platform.answer = () => "throttled";
    region.load = () => ({ protected: 3 });
    await region.run(30);
    const { orders } = region.platform;
    expect(region.desired("od")).toBe(2);
    // 5, 10, 20 … 300 s: a dozen calls in half an hour, where a plan is made 360 times.
    expect(orders.length).toBeGreaterThan(3);
    expect(orders.length).toBeLessThanOrEqual(13);
    region.platform.answer = null;
    await region.run(10);
    expect(region.desired("od")).toBeGreaterThanOrEqual(4);
    expect(turnsOf(region, "od")).toBe(0);
  });

  it("that fails on the way down is left as large as it is", async () => {
    const region = new Region([aPool()], { od: 8 });
    region.platform.answer = () => "failed";
    region.load = () => ({ protected: 0.2 });
    await region.run(60);
    expect(region.desired("od")).toBe(8);
    region.platform.answer = null;
    await region.run(120);
    expect(region.desired("od")).toBeLessThan(4);
    expect(turnsOf(region, "od")).toBe(0);
  });
});
