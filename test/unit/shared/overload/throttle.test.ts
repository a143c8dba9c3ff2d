import { describe, it } from "vitest";
import {
  formatThrottle,
  isThrottled,
  newThrottleWindow,
  noThrottle,
  parseThrottle,
  throttleRatios,
  withTurn,
} from "#shared/overload/throttle.ts";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";

function ratioOf(priority: Priority, asked: number, taken: number, nowMs = 60_000): number {
  let window = newThrottleWindow();
  for (let index = 0; index < asked; index += 1) {
    window = withTurn(window, "asked", priority, 50_000);
    if (index < taken) window = withTurn(window, "taken", priority, 50_000);
  }
  return throttleRatios(window, nowMs)[priority];
}

describe("what a cell wants kept away", () => {
  it("is what it is asked for beyond K times what it takes", ({ expect }) => {
    expect(ratioOf("interactive", 300, 100)).toBeCloseTo(100 / 301);
    expect(ratioOf("standard", 300, 100)).toBeCloseTo(150 / 301);
    expect(ratioOf("batch", 300, 100)).toBeCloseTo(180 / 301);
    expect(ratioOf("critical", 300, 0)).toBe(0);
  });
  it("is nothing where most is taken, or little was asked", ({ expect }) => {
    for (const priority of priorities) {
      expect(ratioOf(priority, 100, 100)).toBe(0);
      expect(ratioOf(priority, 19, 0)).toBe(0);
    }
  });
  it("is forgotten after two minutes", ({ expect }) => {
    expect(ratioOf("batch", 300, 0, 169_000)).toBeGreaterThan(0.9);
    expect(ratioOf("batch", 300, 0, 171_000)).toBe(0);
  });
  it("is over soon after a cell takes again what it is asked for", ({ expect }) => {
    let window = newThrottleWindow();
    for (let index = 0; index < 300; index += 1) window = withTurn(window, "asked", "batch", 5_000);
    const taking = (nowMs: number): void => {
      window = withTurn(withTurn(window, "asked", "batch", nowMs), "taken", "batch", nowMs);
    };
    taking(35_000);
    taking(36_000);
    expect(throttleRatios(window, 40_000).batch).toBeGreaterThan(0.9);
    taking(40_000);
    expect(throttleRatios(window, 40_000).batch).toBe(0);
    // Refused again: the share is there again.
    for (let index = 0; index < 9; index += 1) window = withTurn(window, "asked", "batch", 41_000);
    expect(throttleRatios(window, 42_000).batch).toBeGreaterThan(0.5);
  });
  it("travels in hundredths, and rubbish is nothing", ({ expect }) => {
    expect(formatThrottle(noThrottle)).toBeNull();
    const ratios = { critical: 0, interactive: 0.129, standard: 0.5, batch: 0.99 };
    expect(formatThrottle(ratios)).toBe("0,12,50,99");
    expect(parseThrottle("0,12,50,99")).toEqual({ ...ratios, interactive: 0.12 });
    // The critical class is never kept away, whatever a cell says.
    expect(parseThrottle("99,0,0,0").critical).toBe(0);
    for (const text of [null, "", "1,2,3", "1,2,3,100", "-1,2,3,4", "a"]) {
      expect(parseThrottle(text)).toEqual(noThrottle);
    }
  });
  it("fades within 30 s, so that a cell is asked again", ({ expect }) => {
    const heard = { ratios: { ...noThrottle, batch: 0.9 }, atMs: 0 };
    expect(isThrottled(heard, "batch", 9_000, 0.89)).toBe(true);
    expect(isThrottled(heard, "batch", 9_000, 0.9)).toBe(false);
    expect(isThrottled(heard, "batch", 20_000, 0.44)).toBe(true);
    expect(isThrottled(heard, "batch", 20_000, 0.46)).toBe(false);
    expect(isThrottled(heard, "batch", 30_000, 0)).toBe(false);
    expect(isThrottled(heard, "interactive", 0, 0)).toBe(false);
  });
});
