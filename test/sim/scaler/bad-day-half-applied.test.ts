import { describe, expect, it } from "vitest";
import { Region, aPool, leastOf, turnsOf } from "./region.ts";

describe("a platform that does half of what it is told", () => {
  it("gets no opposite order for it", async () => {
    const region = new Region([aPool()], { od: 2 });
    const had = () => region.ready("od");
    region.platform.deliver = (_, replicas) => Math.round((had() + replicas) / 2);
    region.load = () => ({ protected: 4 });
    await region.run(120);
    expect(region.ready("od")).toBeGreaterThan(2);
    expect(turnsOf(region, "od")).toBe(0);
  });

  it("is not brought below what demand needs when the way down is half done", async () => {
    const region = new Region([aPool()], { od: 12 });
    region.platform.deliver = (_, replicas) => replicas + 2;
    region.load = () => ({ protected: 2 });
    await region.run(180);
    expect(leastOf(region, "od")).toBeGreaterThanOrEqual(4);
    expect(turnsOf(region, "od")).toBe(0);
  });
});
