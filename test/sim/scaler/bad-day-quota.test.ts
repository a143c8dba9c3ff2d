import { describe, expect, it } from "vitest";
import { Region, aPool, minuteMs, turnsOf } from "./region.ts";

describe("a quota that is used up", () => {
  it("sends the rest to the next pool at once, and asks again after ten minutes", async () => {
    const dear = aPool({ id: "modal", pricePerHourMicroUsd: 3_950_000 });
    const region = new Region([aPool(), dear], { od: 2, modal: 1 });
    region.platform.answer = (pool, replicas) =>
      pool === "od" && replicas > 2 ? "quotaRefused" : "carryOut";
    region.load = () => ({ protected: 4 });
    await region.run(2);
    expect(region.desired("od")).toBe(2);
    expect(region.desired("modal")).toBeGreaterThanOrEqual(2);
    await region.run(58);
    expect(region.ready("modal")).toBeGreaterThanOrEqual(4);
    expect(turnsOf(region, "modal")).toBe(0);
    const asked = region.platform.orders.filter(({ pool }) => pool === "od");
    const gaps = asked.slice(1).map(({ atMs }, index) => atMs - (asked[index]?.atMs ?? 0));
    expect(gaps.every((gap) => gap >= minuteMs)).toBe(true);
  });

  it("with no other pool keeps what there is, and says how much has no place", async () => {
    const region = new Region([aPool({ replicasMax: 3 })], { od: 3 });
    region.load = () => ({ protected: 6 });
    await region.run(30);
    expect(region.desired("od")).toBe(3);
    expect(region.lastPlan()).toMatchObject({ reason: "atMaximum", replicas: 3 });
    expect(region.lastPlan()?.wanted).toBeGreaterThan(8);
  });
});
