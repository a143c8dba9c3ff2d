import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultForecastPolicy } from "#shared/scaling/forecast-policy.ts";
import { forecastDemand, newForecast, observeDemand } from "#shared/scaling/forecast.ts";
import type { ForecastState } from "#shared/scaling/forecast.ts";

const policy = { ...defaultForecastPolicy, seasonSteps: 24, horizonSteps: [1, 3] };

function after(values: readonly number[]): ForecastState {
  return values.reduce((state, value) => observeDemand(state, value, policy), newForecast(policy));
}

/** Mulberry32 (T. Ettinger, public domain): uniform on [0, 1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Days of 24 steps between 50 and 150, with noise. */
function days(count: number, noise: number): number[] {
  const next = random(7);
  return Array.from(
    { length: 24 * count },
    (_, step) => (100 + 50 * Math.sin((2 * Math.PI * step) / 24)) * (1 + noise * (2 * next() - 1)),
  );
}

/** Mean relative error of the forecast and of "as now", `steps` ahead, over the second half. */
function errorsOf(values: readonly number[], horizon: number) {
  const steps = policy.horizonSteps[horizon] ?? 0;
  let state = newForecast(policy);
  let own = 0;
  let asNow = 0;
  values.forEach((value, at) => {
    state = observeDemand(state, value, policy);
    const actual = values[at + steps];
    if (actual === undefined || at < values.length / 2) return;
    own += Math.abs((forecastDemand(state, 0.5)[horizon]?.mean ?? 0) - actual) / actual;
    asNow += Math.abs(value - actual) / actual;
  });
  return { own, asNow };
}

describe("a forecast of demand", () => {
  it("knows nothing before anything was seen, and says as now after the first step", () => {
    expect(forecastDemand(newForecast(policy), 0.99)).toStrictEqual([
      { steps: 1, mean: 0, upper: 0 },
      { steps: 3, mean: 0, upper: 0 },
    ]);
    expect(forecastDemand(after([40]), 0.99).map(({ mean }) => mean)).toStrictEqual([40, 40]);
  });

  it("stays with a demand that stays", () => {
    const forecasts = forecastDemand(after(Array<number>(80).fill(10)), 0.99);
    for (const { mean, upper } of forecasts) {
      expect(mean).toBeCloseTo(10, 6);
      expect(upper).toBeCloseTo(10, 6);
    }
  });

  it.each([0, 1])("learns the day, and is nearer than as now (horizon %i)", (horizon) => {
    const { asNow, own } = errorsOf(days(12, 0.05), horizon);
    expect(own).toBeLessThan(0.8 * asNow);
  });

  it("is not worse than as now where the day means nothing", () => {
    const next = random(3);
    let value = 100;
    const walk = Array.from({ length: 24 * 20 }, () => {
      value = Math.max(5, value * (0.9 + 0.2 * next()));
      return value;
    });
    const { asNow, own } = errorsOf(walk, 1);
    expect(own).toBeLessThan(1.03 * asNow);
  });

  it("has a margin that holds as often as it says", () => {
    const values = days(40, 0.3);
    let state = newForecast(policy);
    let held = 0;
    let count = 0;
    values.forEach((value, at) => {
      state = observeDemand(state, value, policy);
      const actual = values[at + 1];
      if (actual === undefined || at < values.length / 2) return;
      count += 1;
      if (actual <= (forecastDemand(state, 0.9)[0]?.upper ?? 0)) held += 1;
    });
    expect(held / count).toBeGreaterThan(0.85);
    expect(held / count).toBeLessThan(0.96);
  });

  it("forgets an outage: silence is neither a season nor an error", () => {
    const before = days(8, 0);
    const outage = [...before, 0, 0, 0, 0, 0, ...before.slice(5, 24)];
    const forecasts = forecastDemand(after([...outage, ...before.slice(0, 48)]), 0.99);
    for (const { mean } of forecasts) {
      expect(mean).toBeGreaterThan(20);
      expect(mean).toBeLessThan(300);
    }
  });

  it("is a number, and none below 0, whatever it is told", () => {
    const value = fc.oneof(fc.double(), fc.constantFrom(0, -1, 1e12, Number.NaN, Infinity));
    fc.assert(
      fc.property(fc.array(value, { maxLength: 120 }), (values) => {
        for (const { mean, upper } of forecastDemand(after(values), 0.99)) {
          expect(Number.isFinite(mean) && mean >= 0).toBe(true);
          expect(Number.isFinite(upper) && upper >= 0).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });
});
