import { describe, expect, it } from "vitest";
import { choosePurchase } from "#shared/scaling/fleet-purchase.ts";
import type { PurchaseOffer } from "#shared/scaling/fleet-purchase.ts";

function offer(name: string, change: Partial<PurchaseOffer> = {}): PurchaseOffer {
  return { name, kind: "onDemand", usdPerHour: 3, unitsPerReplica: 1, replicasMax: 100, ...change };
}
const firm = offer("firm");
const spots = ["a", "b", "c"].map((name) => offer(name, { kind: "spot", usdPerHour: 1 }));
const burst = offer("burst", { kind: "burst", usdPerHour: 4 });
const market = [firm, ...spots, burst];

function buy(wantedUnits: number, firmUnits = 0, urgentUnits = 0, offers = market) {
  return choosePurchase({ wantedUnits, firmUnits, urgentUnits }, offers);
}

describe("what is bought", () => {
  it("is nothing for nothing", () => {
    const { missingUnits, replicas } = buy(0);
    expect(missingUnits).toBe(0);
    expect(Object.values(replicas)).toStrictEqual([0, 0, 0, 0, 0]);
  });

  it("is the cheapest, with no more than 40 % of what may be called back in one pool", () => {
    expect(buy(10).replicas).toStrictEqual({ firm: 0, a: 4, b: 4, c: 2, burst: 0 });
  });

  it("keeps firm units off spot", () => {
    expect(buy(10, 6).replicas).toStrictEqual({ firm: 6, a: 2, b: 2, c: 0, burst: 0 });
    expect(buy(10, 99).replicas).toStrictEqual({ firm: 10, a: 0, b: 0, c: 0, burst: 0 });
  });

  it("takes firm units from the next offer when a quota ends, and says what is missing rather than use spot", () => {
    const small = [{ ...firm, replicasMax: 3 }, ...spots, { ...burst, replicasMax: 2 }];
    expect(buy(8, 8, 0, small)).toStrictEqual({
      replicas: { firm: 3, a: 0, b: 0, c: 0, burst: 2 },
      missingUnits: 3,
    });
  });

  it("is not what may be called back where there are only two pools of it", () => {
    expect(buy(10, 0, 0, [firm, ...spots.slice(0, 2)]).replicas).toStrictEqual({
      firm: 10,
      a: 0,
      b: 0,
    });
  });

  it("moves what a withheld pool held to the others", () => {
    const withheld = market.map((one) => (one.name === "a" ? { ...one, replicasMax: 0 } : one));
    expect(buy(10, 0, 0, withheld).replicas).toStrictEqual({ firm: 2, a: 0, b: 4, c: 4, burst: 0 });
  });

  it("counts reserved replicas first, whatever they cost: they are paid", () => {
    const reserved = offer("kept", { kind: "reserved", usdPerHour: 9, replicasMax: 4 });
    const got = buy(6, 4, 0, [...market, reserved]);
    expect(got.replicas).toStrictEqual({ kept: 4, firm: 0, a: 1, b: 1, c: 0, burst: 0 });
    expect(buy(1, 0, 0, [...market, reserved]).replicas["kept"]).toBe(4);
  });

  it("bridges what is missing right now with burst replicas alone, on top of the rest", () => {
    expect(buy(4, 4, 3).replicas).toStrictEqual({ firm: 4, a: 0, b: 0, c: 0, burst: 3 });
    expect(buy(4, 4, 500).replicas["burst"]).toBe(100);
    expect(buy(4, 4, 3, [firm, ...spots]).replicas["firm"]).toBe(4);
  });

  it("compares prices by unit and buys whole replicas", () => {
    const large = offer("large", { usdPerHour: 5, unitsPerReplica: 2 });
    expect(buy(5, 0, 0, [firm, large])).toStrictEqual({
      replicas: { firm: 0, large: 3 },
      missingUnits: 0,
    });
  });
});
