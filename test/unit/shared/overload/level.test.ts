import fc from "fast-check";
import { describe, it } from "vitest";
import { newLevelState, stepLevel } from "#shared/overload/level.ts";
import type { LevelState } from "#shared/overload/level.ts";
import { defaultLevelPolicy } from "#shared/overload/level-policy.ts";
import type { LevelInputs } from "#shared/overload/level-policy.ts";

const lookMs = 250;
const calm: LevelInputs = { saturation: 0.1, queueDelay: 0, healthyShare: 1, errorRatio: 0 };

/** A cell in virtual time: a look every 250 ms. */
class Cell {
  nowMs = 0;
  state: LevelState = newLevelState(0);
  readonly changes: [number, number, string][] = [];
  run(seconds: number, inputsAt: (second: number) => Partial<LevelInputs>): this {
    const endMs = this.nowMs + 1000 * seconds;
    while (this.nowMs < endMs) {
      this.nowMs += lookMs;
      const inputs = { ...calm, ...inputsAt(this.nowMs / 1000) };
      const step = stepLevel(this.state, inputs, this.nowMs, defaultLevelPolicy);
      if (step.state.level !== this.state.level) {
        this.changes.push([this.nowMs / 1000, step.state.level, step.reason]);
      }
      this.state = step.state;
    }
    return this;
  }
  steady(seconds: number, inputs: Partial<LevelInputs>): this {
    return this.run(seconds, () => inputs);
  }
}

describe("the degradation level", () => {
  it("is 0 for a cell that is well used", ({ expect }) => {
    expect(new Cell().steady(600, { saturation: 0.74 }).changes).toEqual([]);
  });

  it("is entered only when the bound was passed for the whole hold", ({ expect }) => {
    const cell = new Cell().steady(60, { saturation: 0.6 });
    cell.steady(14, { saturation: 0.8 }).steady(30, { saturation: 0.6 });
    expect(cell.changes).toEqual([]);
    cell.steady(60, { saturation: 0.8 });
    expect(cell.state.level).toBe(1);
  });

  it("is left within half a minute once lost shards are back, from 4 as from 2", ({ expect }) => {
    for (const healthyShare of [0.2, 0.8]) {
      const cell = new Cell().steady(40, { healthyShare });
      const { level } = cell.state;
      cell.steady(10 * level - 1, {});
      expect(cell.state.level).toBe(1);
      cell.steady(2, {});
      expect(cell.state.level).toBe(0);
    }
  });

  it("is left no sooner than else while a part of the shards is away", ({ expect }) => {
    const cell = new Cell().steady(40, { healthyShare: 0.5 });
    expect(cell.state.level).toBe(3);
    cell.steady(119, { healthyShare: 0.8 });
    expect(cell.state.level).toBe(3);
  });

  it("takes overload that comes with a loss for the loss's, and overload without one not", ({
    expect,
  }) => {
    const lost = new Cell().steady(40, { healthyShare: 0.7, queueDelay: 1.5 });
    expect([lost.state.level, lost.changes.at(-1)?.[2]]).toEqual([3, "queueDelay"]);
    lost.steady(32, {});
    expect(lost.state.level).toBe(0);
    const busy = new Cell().steady(40, { queueDelay: 1.5 });
    busy.steady(100, {});
    expect(busy.state.level).toBe(3);
  });

  it("stays while the load is what it is left by, shards or not", ({ expect }) => {
    const cell = new Cell().steady(40, { healthyShare: 0.5 }).steady(200, { saturation: 0.8 });
    expect(cell.state.level).toBeGreaterThanOrEqual(1);
  });

  const entries: readonly (readonly [Partial<LevelInputs>, number, string])[] = [
    [{ saturation: 0.8 }, 1, "saturation"],
    [{ saturation: 0.9 }, 2, "saturation"],
    [{ queueDelay: 0.6 }, 2, "queueDelay"],
    [{ healthyShare: 0.8 }, 2, "healthyShare"],
    [{ saturation: 1 }, 3, "saturation"],
    [{ queueDelay: 1.5 }, 3, "queueDelay"],
    [{ healthyShare: 0.5 }, 3, "healthyShare"],
    [{ errorRatio: 0.1 }, 3, "errorRatio"],
    [{ saturation: 1.2 }, 4, "saturation"],
    [{ healthyShare: 0.2 }, 4, "healthyShare"],
  ];
  for (const [inputs, level, cause] of entries) {
    it(`comes to ${level} by ${JSON.stringify(inputs)}`, ({ expect }) => {
      const cell = new Cell().steady(60, inputs);
      expect(cell.state.level).toBe(level);
      expect(cell.changes.at(-1)?.[2]).toBe(cause);
    });
  }

  it("skips levels on the way up", ({ expect }) => {
    expect(new Cell().steady(10, { healthyShare: 0.2 }).changes).toEqual([
      [5.25, 4, "healthyShare"],
    ]);
  });

  it("goes down one level at a time, each after its own dwell", ({ expect }) => {
    const cell = new Cell();
    // Overload as shards are, so that nothing is healed by their return: 4 by saturation, calm at once.
    cell.state = { ...cell.state, level: 4, sinceMs: 0 };
    cell.changes.push([0, 4, "saturation"]);
    cell.steady(600, {});
    expect(cell.changes.slice(1).map(([, level]) => level)).toEqual([3, 2, 1, 0]);
    const gaps = cell.changes.slice(1).map(([at], index) => at - (cell.changes[index]?.[0] ?? 0));
    expect(gaps.map((gap) => Math.floor(gap / 5) * 5)).toEqual([180, 120, 90, 60]);
  });

  it("begins the dwell anew when the calm is broken", ({ expect }) => {
    const cell = new Cell().steady(6, { queueDelay: 0.6 }).steady(80, {});
    cell.steady(1, { queueDelay: 0.4 }).steady(80, {});
    expect(cell.state.level).toBe(2);
    expect(cell.steady(11, {}).state.level).toBe(1);
  });

  it("is kept by what keeps it, also when the rest is calm", ({ expect }) => {
    const cell = new Cell().steady(600, { healthyShare: 0.5 });
    expect(cell.changes).toHaveLength(1);
    expect(cell.steady(600, { healthyShare: 0.4 }).state.level).toBe(3);
  });

  it("leaves 4 only above half of the capacity", ({ expect }) => {
    const cell = new Cell().steady(10, { healthyShare: 0.2 }).steady(600, { healthyShare: 0.45 });
    expect(cell.state.level).toBe(4);
    expect(cell.steady(190, { healthyShare: 0.55 }).state.level).toBe(3);
  });

  it("does not flap under a load that swings around the bounds", ({ expect }) => {
    for (const periodSeconds of [2, 10, 45]) {
      const cell = new Cell().run(1800, (second) => ({
        saturation: 0.8 + 0.3 * Math.sin((2 * Math.PI * second) / periodSeconds),
        queueDelay: 0.2 + 0.4 * Math.max(0, Math.sin((2 * Math.PI * second) / periodSeconds)),
      }));
      expect(cell.changes.length, `period ${periodSeconds} s`).toBeLessThanOrEqual(3);
    }
  });

  it("reads a number that is none as calm", ({ expect }) => {
    const broken = { saturation: Number.NaN, healthyShare: Number.NaN, queueDelay: Number.NaN };
    expect(new Cell().steady(60, { ...broken, errorRatio: Number.NaN }).changes).toEqual([]);
  });

  it("is not raised by a clock that jumps", ({ expect }) => {
    const cell = new Cell().steady(4, { queueDelay: 2 });
    cell.nowMs -= 3_600_000;
    cell.steady(4, { queueDelay: 2 });
    expect(cell.changes).toEqual([]);
    expect(cell.steady(2, { queueDelay: 2 }).state.level).toBe(3);
  });

  it("never falls by more than one, and never sooner than its dwell after the last change", ({
    expect,
  }) => {
    const share = fc.double({ min: 0, max: 1.5, noNaN: true });
    const inputs = fc.record({
      saturation: share,
      queueDelay: share,
      healthyShare: share,
      errorRatio: share,
      seconds: fc.integer({ min: 1, max: 200 }),
    });
    fc.assert(
      fc.property(fc.array(inputs, { maxLength: 20 }), (phases) => {
        const cell = new Cell();
        for (const { seconds, ...given } of phases) cell.steady(seconds, given);
        const wasLost = phases.some(({ healthyShare }) => healthyShare < 0.85);
        let [atBefore, before] = [0, 0];
        for (const [at, level] of cell.changes) {
          if (level < before) {
            expect(level).toBe(before - 1);
            const { heldMs } = wasLost
              ? defaultLevelPolicy.healed
              : defaultLevelPolicy.rules[before as 1 | 2 | 3 | 4].leave;
            expect(at - atBefore).toBeGreaterThanOrEqual(heldMs / 1000);
          }
          [atBefore, before] = [at, level];
        }
      }),
      { numRuns: 60 },
    );
  });
});
