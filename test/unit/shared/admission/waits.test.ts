import { describe, it } from "vitest";
import { addDrained, drainRate, noDrain } from "#shared/admission/drain-rate.ts";
import { retryAfterMs } from "#shared/admission/retry-after.ts";

describe("the wait that a refused client is told", () => {
  it("is the drain time, spread from three quarters to one and a half", ({ expect }) => {
    expect(retryAfterMs(8_000, () => 0)).toBe(6_000);
    expect(retryAfterMs(8_000, () => 0.999_999)).toBe(12_000);
  });

  it("is never under half a second, over a minute, or no number", ({ expect }) => {
    for (const drainMs of [-5, 0, 1e9, Infinity, Number.NaN]) {
      const waitMs = retryAfterMs(drainMs, () => 0.9);
      expect(waitMs).toBeGreaterThanOrEqual(500);
      expect(waitMs).toBeLessThanOrEqual(60_000);
    }
  });
});

describe("the rate at which waiting work is drained", () => {
  it("comes to what is done per second", ({ expect }) => {
    let state = noDrain;
    for (let nowMs = 0; nowMs <= 30_000; nowMs += 100) state = addDrained(state, 50, nowMs);
    expect(drainRate(state, 0, 0, 30_000)).toBeGreaterThan(480);
    expect(drainRate(state, 0, 0, 30_000)).toBeLessThan(520);
  });

  it("is what is foreseen until turns have waited for a while, then what is done", ({ expect }) => {
    const state = addDrained(noDrain, 500, 10_000);
    expect(drainRate(state, 900, null, 10_000)).toBe(900);
    expect(drainRate(state, 900, 5_001, 10_000)).toBe(900);
    expect(drainRate(state, 900, 5_000, 10_000)).toBe(100);
    // Nothing was done at all: what is foreseen is all there is.
    expect(drainRate(noDrain, 900, 0, 10_000)).toBe(900);
  });
});
