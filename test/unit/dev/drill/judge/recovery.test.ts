import { describe, expect, it } from "vitest";
import { recoverySeconds } from "#dev/drill/judge/recovery.ts";
import { createTimeline, quantile, spanOf } from "#dev/drill/judge/timeline.ts";
import type { Timeline } from "#dev/drill/judge/timeline.ts";

const phases = { baseline: 0, fault: 10, recovery: 20, end: 120 };

/** A timeline of one flow with 20 requests each second, of which `good(second)` are good; null leaves them without an end. */
function timelineOf(good: (second: number) => number | null): Timeline {
  const timeline = createTimeline(["a"]);
  for (let second = 0; second < phases.end; second += 1) {
    for (let index = 0; index < 20; index += 1) {
      timeline.sent("a", second);
      const count = good(second);
      if (count === null) continue;
      const code = index < count ? "ok" : "saturated";
      timeline.ended({ flow: "a", sentSecond: second, code, ttftMs: index });
    }
  }
  return timeline;
}

describe("recovery after a fault", () => {
  it("is at once when goodput never went", () => {
    expect(
      recoverySeconds(
        timelineOf(() => 20),
        "a",
        phases,
      ),
    ).toBe(0);
  });

  it("begins with the first window that holds, not with a lucky second", () => {
    const timeline = timelineOf((second) => {
      if (second < 10 || second >= 33) return 20;
      return second === 25 ? 20 : 4;
    });
    // 23 + 10 s hold 13 - 3 bad seconds still; the window from 33 on is whole.
    expect(recoverySeconds(timeline, "a", phases)).toBe(13);
  });

  it("is reached at exactly 95 %", () => {
    expect(
      recoverySeconds(
        timelineOf((second) => (second < 20 ? 20 : 19)),
        "a",
        phases,
      ),
    ).toBe(0);
  });

  it("is not reached just below 95 %", () => {
    const timeline = timelineOf((second) => {
      if (second < 20) return 20;
      return second % 10 === 0 ? 18 : 19;
    });
    expect(recoverySeconds(timeline, "a", phases)).toBeNull();
  });

  it("counts in the 60th second and not in the 61st", () => {
    expect(
      recoverySeconds(
        timelineOf((second) => (second < 80 && second >= 20 ? 0 : 20)),
        "a",
        phases,
      ),
    ).toBe(60);
    expect(
      recoverySeconds(
        timelineOf((second) => (second < 81 && second >= 20 ? 0 : 20)),
        "a",
        phases,
      ),
    ).toBeNull();
  });

  it("is not claimed while requests of the window are under way", () => {
    const timeline = timelineOf((second) => (second >= 20 ? null : 20));
    expect(recoverySeconds(timeline, "a", phases)).toBeNull();
  });

  it("is not claimed for a window that is not over", () => {
    expect(
      recoverySeconds(
        timelineOf(() => 20),
        "a",
        { ...phases, end: 29 },
      ),
    ).toBeNull();
    expect(
      recoverySeconds(
        timelineOf(() => 20),
        "a",
        { ...phases, end: 30 },
      ),
    ).toBe(0);
  });

  it("has nothing to come back to without a baseline", () => {
    expect(
      recoverySeconds(
        timelineOf((second) => (second < 10 ? 0 : 20)),
        "a",
        phases,
      ),
    ).toBeNull();
    expect(recoverySeconds(createTimeline(["a"]), "a", phases)).toBeNull();
  });
});

describe("a timeline", () => {
  it("counts what was sent, what ended and why", () => {
    const timeline = createTimeline(["a"]);
    timeline.sent("a", 2);
    timeline.sent("a", 2);
    timeline.ended({ flow: "a", sentSecond: 2, code: "late", ttftMs: 9_000 });
    expect(spanOf(timeline, "a", 0, 3)).toEqual({
      sent: 2,
      done: 1,
      good: 0,
      goodShare: 0,
      codes: { late: 1 },
      ttftMs: [9_000],
    });
    expect(spanOf(timeline, "a", 0, 2).goodShare).toBeNull();
  });

  it("refuses a flow that it was not made for", () => {
    expect(() => createTimeline(["a"]).sent("b", 0)).toThrow("no flow b");
  });

  it("takes quantiles by nearest rank", () => {
    expect(quantile([3, 1, 2, 4], 0.5)).toBe(2);
    expect(quantile([3, 1, 2, 4], 0.99)).toBe(4);
    expect(quantile([], 0.5)).toBeNull();
  });
});
