import { describe, it } from "vitest";
import { defaultStartPolicy, startShare, startSlots } from "#shared/admission/start-share.ts";

const startedAtMs = 1_000_000;

function shareAt(ageMs: number, reportedAgeMs: number | null = null): number {
  const reportedAtMs = reportedAgeMs === null ? null : startedAtMs + reportedAgeMs;
  return startShare(startedAtMs, reportedAtMs, startedAtMs + ageMs, defaultStartPolicy);
}

describe("a cell that has just started", () => {
  it("uses half of each shard for two seconds, whatever the shard says", ({ expect }) => {
    expect([0, 1_000, 1_999].map((ms) => shareAt(ms, 0))).toEqual([0.5, 0.5, 0.5]);
  });

  it("uses all of a shard that has told its load since", ({ expect }) => {
    expect(shareAt(2_000, 500)).toBe(1);
    expect(shareAt(2_000, -1)).toBe(0.5);
  });

  it("uses more and more of one that tells nothing, and all after ten seconds", ({ expect }) => {
    expect([2_000, 4_000, 6_000, 9_999, 10_000, 1e9].map((ms) => shareAt(ms))).toEqual([
      0.5,
      0.625,
      0.75,
      expect.closeTo(1, 3),
      1,
      1,
    ]);
  });

  it("takes a clock that went back for the start", ({ expect }) => {
    expect(shareAt(-60_000)).toBe(0.5);
  });

  it("always leaves a shard one slot", ({ expect }) => {
    expect([1, 2, 3, 9].map((slots) => startSlots(slots, 0.5))).toEqual([1, 1, 1, 4]);
    expect(startSlots(9, 1)).toBe(9);
  });
});
