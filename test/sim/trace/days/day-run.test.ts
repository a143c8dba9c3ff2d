import { describe, expect, test } from "vitest";
import { runDays } from "./day-run.ts";
import type { DayRun, DayRunInput } from "./day-run.ts";
import { curve, dayOffer, region } from "./fleet-of-tests.ts";
import { scalers } from "./scalers.ts";

const dayMs = 86_400_000;
const stepsPerDay = 144;
const shares = { critical: 0.15, interactive: 0.25, standard: 0.4, batch: 0.2 };

/** Days of a wave with a jump in the middle of the last one. */
function wave(count: number): DayRunInput["days"] {
  const rates = Array.from({ length: count * stepsPerDay }, (_, at) => {
    const isJump = at % stepsPerDay === 72 && at > (count - 1) * stepsPerDay;
    return (20 - 12 * Math.cos((2 * Math.PI * at) / stepsPerDay)) * (isJump ? 3 : 1);
  });
  return { rates, dispersion: rates.map(() => 4) };
}

const spotChange = {
  kind: "spot",
  usdPerHour: 1_200,
  reclaim: { upHoursMean: 2, downHoursMean: 0.5 },
} as const;
const offers = [
  dayOffer("firm"),
  dayOffer("spot-a", spotChange),
  dayOffer("spot-b", spotChange),
  dayOffer("spot-c", spotChange),
  dayOffer("burst", {
    kind: "burst",
    usdPerHour: 4_000,
    coldStart: { medianSeconds: 12, sigma: 0, slowShare: 0, slowMedianSeconds: 12 },
  }),
];

function run(scaler: string, change: Partial<DayRunInput> = {}): DayRun {
  return runDays({
    days: wave(2),
    region,
    offers,
    curve,
    scaler,
    scale: 1,
    shares,
    learnDays: 1,
    countFromMs: dayMs,
    countUntilMs: 2 * dayMs,
    seed: 1,
    ...change,
  });
}

function sum(of: DayRun, read: "offered" | "served" | "shed" | "good"): number {
  return Object.values(of.classes).reduce((total, one) => total + one[read], 0);
}

describe("days under a scaler", { timeout: 60_000 }, () => {
  test.each(Object.keys(scalers))("%s: every request is served, shed or waiting", (scaler) => {
    const got = run(scaler, { scale: 3 });
    const before = sum(got, "offered") + got.waitingAtStart;
    expect(sum(got, "served") + sum(got, "shed") + got.waitingAtEnd).toBeCloseTo(before, 4);
    expect(sum(got, "good")).toBeLessThanOrEqual(sum(got, "served") + 1e-6);
    expect(got.busyUnitSeconds).toBeLessThanOrEqual(got.unitSeconds);
  });

  test.each(Object.keys(scalers))("%s: what is paid is the integral of the curve", (scaler) => {
    const got = run(scaler, { countFromMs: 0 });
    // The curve has a point a minute; replicas change between them.
    const area = got.curve.reduce((total, { held }) => total + held * 60, 0);
    expect(Math.abs(got.replicaSeconds - area) / area).toBeLessThan(0.01);
  });

  test("the demand is the same for every scaler, and another with another seed", () => {
    const { arrivals } = run("ours");
    expect(run("knative").arrivals).toStrictEqual(arrivals);
    expect(run("ours", { seed: 2 }).arrivals).not.toStrictEqual(arrivals);
  });

  test("the same seed gives the same run", () => {
    const [one, other] = [run("ours"), run("ours")];
    expect(one.lifetimes).toStrictEqual(other.lifetimes);
    expect(one.curve).toStrictEqual(other.curve);
    expect(sum(one, "good")).toBe(sum(other, "good"));
  });

  test("static peak knows the busiest ten minutes that it may learn from, and no more", () => {
    const got = run("static-peak");
    // 32 units at 70 %; the jump of the last day is not known.
    expect(new Set(got.curve.slice(1).map(({ held }) => held))).toStrictEqual(new Set([46]));
  });

  test("a scaler that follows demand pays less than static peak, and more idle is paid there", () => {
    const [ours, still] = [run("ours"), run("static-peak")];
    expect(ours.usd).toBeLessThan(0.8 * still.usd);
    expect(ours.busyUnitSeconds / ours.unitSeconds).toBeGreaterThan(
      still.busyUnitSeconds / still.unitSeconds,
    );
  });

  test("burst replicas shorten what a jump costs in waiting", () => {
    const coldStart = { medianSeconds: 400, sigma: 0, slowShare: 0, slowMedianSeconds: 400 };
    const [, , , , burst] = offers;
    const slow = [dayOffer("firm", { coldStart }), ...(burst === undefined ? [] : [burst])];
    const rates = wave(2).rates.map((rate, at) => (at > 216 ? 9 * rate : rate));
    const change = { days: { ...wave(2), rates }, offers: slow };
    const [bridged, alone] = [run("ours", change), run("ours-no-burst", change)];
    expect(alone.coldWaits.total()).toBeGreaterThan(0);
    expect(bridged.coldWaits.total()).toBeLessThan(0.8 * alone.coldWaits.total());
  });

  test("without spot nothing is called back", () => {
    expect(run("ours").reclaims).toBeGreaterThan(0);
    expect(run("ours-no-spot").reclaims).toBe(0);
  });

  test("the critical class is served first when there is too little", () => {
    const scarce = [dayOffer("firm", { replicasMax: 12 })];
    // Until the jump, which is more than even the critical class may have.
    const { classes } = run("ours", { offers: scarce, countUntilMs: dayMs + 36_000_000 });
    expect(classes.batch.shed).toBeGreaterThan(0);
    expect(classes.critical.shed).toBe(0);
    expect(classes.critical.ttft.quantile(0.99)).toBeLessThan(1);
  });

  test("only the time that is asked for is counted", () => {
    const hour = run("ours", { countUntilMs: dayMs + 3_600_000 });
    expect(hour.hours).toBe(1);
    const arrived = hour.arrivals.slice(14_400, 15_000).reduce((total, one) => total + one, 0);
    expect(sum(hour, "offered")).toBeCloseTo(arrived, 6);
  });

  test("a silent day keeps the minimum warm", () => {
    const rates = Array.from({ length: stepsPerDay }, () => 0);
    const days = { rates, dispersion: rates.map(() => 1) };
    const got = run("ours", { days, learnDays: 0, countFromMs: 0, countUntilMs: dayMs });
    expect(got.curve.at(-1)?.held).toBe(region.replicasMin);
    expect(sum(got, "offered")).toBe(0);
  });
});
