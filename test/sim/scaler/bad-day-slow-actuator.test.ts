import { describe, expect, it } from "vitest";
import { Region, aPool, steepestGrowth, turnsOf } from "./region.ts";

describe("a platform whose replicas take twenty minutes to start", () => {
  it("is not asked for more and more meanwhile", async () => {
    const region = new Region([aPool()], { od: 2 });
    region.platform.startMs = 20 * 60_000;
    region.load = () => ({ protected: 2 });
    await region.run(120);
    // 2 / 0.7 and 2 + 1.5·√2 both want fewer than five; a margin of two would want eight.
    expect(region.desired("od")).toBeLessThanOrEqual(8);
    expect(turnsOf(region, "od")).toBe(0);
    expect(steepestGrowth(region, 120_000)).toBeLessThanOrEqual(2);
  });

  it("keeps what it is starting when demand dips on the way", async () => {
    const region = new Region([aPool()], { od: 2 });
    region.platform.startMs = 20 * 60_000;
    region.load = (minute) => ({ protected: minute > 10 && minute < 14 ? 0.5 : 3 });
    await region.run(60);
    expect(turnsOf(region, "od")).toBe(0);
  });
});
