import { describe, it } from "vitest";
import { errorRatioOf, newOutcomeWindow, withOutcome } from "#shared/overload/outcome-window.ts";

function ended(count: number, failed: number, fromMs: number, stepMs: number) {
  let window = newOutcomeWindow();
  for (let index = 0; index < count; index += 1) {
    window = withOutcome(window, index < failed, fromMs + index * stepMs);
  }
  return window;
}

describe("the error ratio of the last ten seconds", () => {
  it("is the failed share", ({ expect }) => {
    expect(errorRatioOf(ended(100, 10, 50_000, 10), 51_000)).toBeCloseTo(0.1);
  });
  it("says nothing of a few turns", ({ expect }) => {
    expect(errorRatioOf(ended(19, 19, 50_000, 10), 51_000)).toBe(0);
  });
  it("forgets what is older, also where a bucket was not used since", ({ expect }) => {
    expect(errorRatioOf(ended(100, 100, 50_000, 10), 60_999)).toBe(0);
    const later = withOutcome(ended(100, 100, 50_000, 10), false, 60_500);
    expect(errorRatioOf(later, 60_500)).toBe(0);
  });
});
