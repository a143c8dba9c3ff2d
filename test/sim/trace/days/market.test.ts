import { describe, expect, test } from "vitest";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { dayOffer, region } from "./fleet-of-tests.ts";
import { createMarket } from "./market.ts";

describe("a market", () => {
  test("makes a replica ready after its cold start, and takes it at once when it is not wanted", () => {
    const market = createMarket(region, [dayOffer("firm")], seededRandom(1));
    market.set({ firm: 3 }, 0);
    expect(market.held(59_999).get("firm")).toStrictEqual({ replicas: 3, ready: 0 });
    expect(market.capacity(60_000)).toBeCloseTo(3);
    market.set({ firm: 1 }, 61_000);
    expect(market.held(61_000).get("firm")).toStrictEqual({ replicas: 1, ready: 1 });
  });

  test("gives back what still starts before what answers", () => {
    const market = createMarket(region, [dayOffer("firm")], seededRandom(1));
    market.set({ firm: 2 }, 0);
    market.set({ firm: 3 }, 50_000);
    market.set({ firm: 2 }, 70_000);
    expect(market.held(70_000).get("firm")).toStrictEqual({ replicas: 2, ready: 2 });
  });

  test("never exceeds a quota, and gives nothing of what it does not know", () => {
    const market = createMarket(region, [dayOffer("firm", { replicasMax: 4 })], seededRandom(1));
    market.set({ firm: 9, other: 5 }, 0);
    expect(market.held(0).get("firm")?.replicas).toBe(4);
    market.set({}, 0);
    expect(market.held(0).get("firm")?.replicas).toBe(0);
  });

  test("is paid every second from the request to the end, cold start included: the integral of what is held", () => {
    const spot = { kind: "spot", reclaim: { upHoursMean: 0.5, downHoursMean: 0.2 } } as const;
    const market = createMarket(
      { ...region, priceFactor: 1.5 },
      [dayOffer("firm"), dayOffer("spot", { ...spot, usdPerHour: 360 })],
      seededRandom(7),
    );
    const steps = 5_000;
    for (let step = 0; step < steps; step += 1) {
      market.pass(step * 6_000, 6_000);
      if (step % 7 === 0) market.set({ firm: 2 + (step % 5), spot: step % 11 }, step * 6_000);
    }
    const endMs = steps * 6_000;
    const seconds = new Map<string, number>();
    for (const { askedAtMs, offer, untilMs } of market.lifetimes()) {
      // A change counts from the next step on.
      const own = (Math.min(endMs - 6_000, untilMs) - askedAtMs) / 1_000;
      seconds.set(offer, (seconds.get(offer) ?? 0) + own);
    }
    const [firm, spots] = [seconds.get("firm") ?? 0, seconds.get("spot") ?? 0];
    expect(market.paid.reclaims).toBeGreaterThan(10);
    // A reclaim is noticed at the beginning of a step, and that step is not paid.
    expect(market.paid.replicaSeconds).toBeLessThanOrEqual(firm + spots + 1e-6);
    expect(market.paid.replicaSeconds).toBeGreaterThan(firm + spots - 6 * market.paid.reclaims - 1);
    expect(market.paid.usd).toBeGreaterThan(
      1.5 * (firm + 0.1 * (spots - 6 * market.paid.reclaims)) - 1,
    );
    expect(market.paid.usd).toBeLessThanOrEqual(1.5 * (firm + 0.1 * spots) + 1e-6);
  });

  test("calls a whole spot pool back, shows no quota while it is gone, and lets it come again", () => {
    const spot = dayOffer("spot", {
      kind: "spot",
      reclaim: { upHoursMean: 1, downHoursMean: 1 },
    });
    const market = createMarket(region, [spot], seededRandom(3));
    market.set({ spot: 5 }, 0);
    const seen = new Set<string>();
    for (let step = 0; step < 10_000; step += 1) {
      const nowMs = step * 6_000;
      market.pass(nowMs, 6_000);
      const quota = market.offers()[0]?.replicasMax;
      const held = market.held(nowMs).get("spot")?.replicas;
      if (quota === 0) expect(held).toBe(0);
      market.set({ spot: 5 }, nowMs);
      seen.add(`${quota}`);
    }
    expect(seen).toStrictEqual(new Set(["0", "1000"]));
    expect(market.paid.reclaims % 5).toBe(0);
  });
});
