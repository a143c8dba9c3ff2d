import { describe, it } from "vitest";
import { codelBelow, stepCodel } from "#shared/admission/codel.ts";
import type { CodelState } from "#shared/admission/codel.ts";
import { shortQueue, stepLongQueue } from "#shared/admission/long-queue.ts";

const long = { delayShare: 0.5, heldMs: 5_000 };
const codel = { targetShare: 0.3, intervalMs: 1_000 };
const sloMs = 2_000;

describe("a long queue", () => {
  it("is one whose waits were over half of the promise for five seconds", ({ expect }) => {
    let state = shortQueue;
    for (let nowMs = 0; nowMs < 5_000; nowMs += 100) {
      state = stepLongQueue(state, 1_001, sloMs, nowMs, long);
      expect(state.isOverloaded).toBe(false);
    }
    expect(stepLongQueue(state, 1_001, sloMs, 5_000, long).isOverloaded).toBe(true);
  });

  it("is short again with one look at short waits, and counts anew", ({ expect }) => {
    const overloaded = stepLongQueue(
      { lateSinceMs: 0, isOverloaded: true },
      2_000,
      sloMs,
      9_000,
      long,
    );
    expect(overloaded.isOverloaded).toBe(true);
    expect(stepLongQueue(overloaded, 1_000, sloMs, 9_100, long)).toEqual(shortQueue);
    expect(stepLongQueue(overloaded, null, sloMs, 9_100, long)).toEqual(shortQueue);
    expect(stepLongQueue(shortQueue, 2_000, sloMs, 9_200, long)).toEqual({
      lateSinceMs: 9_200,
      isOverloaded: false,
    });
  });

  it("is no longer for a clock that goes back", ({ expect }) => {
    const state = stepLongQueue(
      { lateSinceMs: 5_000, isOverloaded: false },
      2_000,
      sloMs,
      100,
      long,
    );
    expect(state).toEqual({ lateSinceMs: 100, isOverloaded: false });
  });
});

/** Drops within `seconds` of waits that stay at `ageMs`, looked at each 10 ms. */
function dropsOf(ageMs: number | null, seconds: number): number[] {
  const drops: number[] = [];
  let state: CodelState = codelBelow;
  for (let nowMs = 0; nowMs <= seconds * 1_000; nowMs += 10) {
    const step = stepCodel(state, ageMs, sloMs, nowMs, codel);
    state = step.state;
    if (step.isDropped) drops.push(nowMs);
  }
  return drops;
}

describe("the controlled delay", () => {
  it("drops nothing while waits are under the target, or nobody waits", ({ expect }) => {
    expect(dropsOf(599, 30)).toEqual([]);
    expect(dropsOf(null, 30)).toEqual([]);
  });

  it("drops first after a whole interval, then at interval / sqrt(count)", ({ expect }) => {
    const drops = dropsOf(600, 4);
    expect(drops[0]).toBe(1_000);
    const gaps = drops.slice(1).map((atMs, index) => atMs - (drops[index] ?? 0));
    for (const [index, gap] of gaps.entries()) {
      const want = index === 0 ? 1_000 : 1_000 / Math.sqrt(index + 1);
      expect(Math.abs(gap - want)).toBeLessThanOrEqual(10);
    }
    expect(drops.length).toBeGreaterThan(4);
  });

  it("stops as soon as waits are short, and waits a whole interval again", ({ expect }) => {
    const dropping: CodelState = { kind: "dropping", nextDropMs: 500, count: 9 };
    const short = stepCodel(dropping, 10, sloMs, 600, codel);
    expect(short).toEqual({ state: codelBelow, isDropped: false });
    const again = stepCodel(short.state, 2_000, sloMs, 610, codel);
    expect(stepCodel(again.state, 2_000, sloMs, 1_609, codel).isDropped).toBe(false);
    expect(stepCodel(again.state, 2_000, sloMs, 1_610, codel).isDropped).toBe(true);
  });
});
