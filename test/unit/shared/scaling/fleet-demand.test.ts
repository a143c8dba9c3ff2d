import { describe, expect, it } from "vitest";
import { demandAhead } from "#shared/scaling/fleet-demand.ts";
import { defaultForecastPolicy } from "#shared/scaling/forecast-policy.ts";
import { forecastDemand, newForecast, observeDemand } from "#shared/scaling/forecast.ts";

const shares = { critical: 0.15, interactive: 0.25, standard: 0.4, batch: 0.2 };

function after(values: readonly number[]) {
  return values.reduce(
    (state, value) => observeDemand(state, value, defaultForecastPolicy),
    newForecast(defaultForecastPolicy),
  );
}
const noisy = Array.from({ length: 300 }, (_, at) => 100 + 30 * Math.sin(at * 1.7));

describe("demand to be ready for", () => {
  it("is nothing before anything was seen", () => {
    expect(demandAhead(newForecast(defaultForecastPolicy), 1, shares)).toStrictEqual({
      all: 0,
      firm: 0,
    });
  });

  it("gives the upper classes their wide margin and the lower ones a narrow one", () => {
    const state = after(noisy);
    const upper = forecastDemand(state, 0.99)[0]?.upper ?? 0;
    const median = forecastDemand(state, 0.5)[0]?.upper ?? 0;
    const { all, firm } = demandAhead(state, 1, shares);
    expect(firm).toBeCloseTo(0.4 * upper);
    expect(all).toBeLessThan(upper);
    expect(all).toBeGreaterThan(median);
    const onlyBatch = { critical: 0, interactive: 0, standard: 0, batch: 1 };
    expect(demandAhead(state, 1, onlyBatch)).toStrictEqual({ firm: 0, all: median });
  });

  it("says nothing of a horizon that nobody forecasts", () => {
    expect(demandAhead(after(noisy), 5, shares).all).toBe(0);
  });
});
