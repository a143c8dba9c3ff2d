import { describe, expect, it } from "vitest";
import {
  newAnswerQuality,
  observeAnswer,
  qualityWeight,
  repeatedShareOf,
} from "#shared/health/answer-quality.ts";
import type { AnswerTraits } from "#shared/health/answer-quality.ts";
import { capEjections } from "#shared/health/cap-ejections.ts";
import { defaultHealthPolicy as policy } from "#shared/health/health-policy.ts";
import { findOutliers } from "#shared/health/outliers.ts";
import {
  newSpeedWatch,
  observeSpeed,
  slownessOf,
  speedWeight,
} from "#shared/health/speed-watch.ts";

/** Ten answers a window of 10 s, each at this many ms per token, after a usual window at 20 ms. */
function speeds(...windows: readonly number[]) {
  let watch = newSpeedWatch;
  [20, ...windows].forEach((ms, index) => {
    for (let answer = 0; answer < 10; answer += 1) {
      watch = observeSpeed(watch, ms / 1_000, 8, index * 10_000 + answer * 900, policy);
    }
  });
  return { watch, nowMs: (windows.length + 1) * 10_000 };
}

describe("the speed of a shard", () => {
  it("is its usual one while it answers as usual", () => {
    const { nowMs, watch } = speeds(20, 21, 19);
    expect(Math.abs(slownessOf(watch, nowMs, policy) - 1)).toBeLessThan(0.1);
  });

  it("is slow after three slow windows, not after one or two", () => {
    const short = speeds(20, 50, 50);
    expect(slownessOf(short.watch, short.nowMs, policy)).toBeLessThan(1.2);
    const long = speeds(50, 50, 50);
    const slowness = slownessOf(long.watch, long.nowMs, policy);
    expect(slowness).toBeGreaterThan(2);
    expect(speedWeight(slowness, [1, 1], policy)).toBeCloseTo(1 / slowness, 6);
  });

  it("ejects a shard that is over three times slower", () => {
    const { nowMs, watch } = speeds(90, 90, 90);
    expect(speedWeight(slownessOf(watch, nowMs, policy), [1, 1], policy)).toBe(0);
  });

  it("is nobody's illness when all are slow", () => {
    const { nowMs, watch } = speeds(90, 90, 90);
    const slowness = slownessOf(watch, nowMs, policy);
    expect(speedWeight(slowness, [slowness, slowness], policy)).toBe(1);
  });

  it("is forgotten when the shard is not asked any more", () => {
    const { nowMs, watch } = speeds(90, 90, 90);
    expect(slownessOf(watch, nowMs + 60_000, policy)).toBe(1);
  });

  it("does not become usual within minutes of illness", () => {
    const { nowMs, watch } = speeds(...Array<number>(18).fill(50));
    expect(slownessOf(watch, nowMs, policy)).toBeGreaterThan(2);
  });

  it.each([0, -1, Number.NaN, Infinity])("is not learned from %d seconds per token", (seconds) => {
    expect(observeSpeed(newSpeedWatch, seconds, 1, 0, policy)).toBe(newSpeedWatch);
  });
});

function answers(count: number, traits: (index: number) => Partial<AnswerTraits>) {
  let quality = newAnswerQuality;
  for (let index = 0; index < count; index += 1) {
    const answer = { tokens: 100, repeatedShare: 0, isValid: true, ...traits(index) };
    quality = observeAnswer(quality, answer, 1_000, policy);
  }
  return quality;
}

describe("the quality of a shard's answers", () => {
  const good = answers(200, () => ({}));

  it("is whole while as good as the others'", () => {
    expect(qualityWeight(good, [good], 1_000, policy)).toBe(1);
    const rare = answers(200, (index) => ({ isValid: index % 50 !== 0 }));
    expect(qualityWeight(rare, [good], 1_000, policy)).toBe(1);
  });

  it.each<readonly [string, Partial<AnswerTraits>]>([
    ["empty", { tokens: 0 }],
    ["garbled", { repeatedShare: 0.5 }],
    ["invalid", { isValid: false }],
  ])("ejects a shard with one answer in four %s", (_what, traits) => {
    const bad = answers(60, (index) => (index % 4 === 0 ? traits : {}));
    expect(qualityWeight(bad, [good], 1_000, policy)).toBe(0);
    // The same of all is the prompts', not the shard's.
    expect(qualityWeight(bad, [bad], 1_000, policy)).toBe(1);
  });

  it("needs enough answers on both sides", () => {
    const few = answers(19, () => ({ isValid: false }));
    expect(qualityWeight(few, [good], 1_000, policy)).toBe(1);
    const bad = answers(60, () => ({ isValid: false }));
    expect(qualityWeight(bad, [answers(10, () => ({}))], 1_000, policy)).toBe(1);
  });

  it("halves the weight of a shard whose answers have other lengths", () => {
    const short = answers(200, () => ({ tokens: 7 }));
    expect(qualityWeight(short, [good], 1_000, policy)).toBe(0.5);
  });

  it("takes no chance for another population: equal shards keep their weight", () => {
    let state = 7;
    // Park and Miller's generator; lengths over three orders of magnitude, as answers have them.
    const draw = (): number => {
      state = (state * 48_271) % 2_147_483_647;
      return Math.round(10 ** ((3 * state) / 2_147_483_647));
    };
    for (let run = 0; run < 300; run += 1) {
      const own = answers(110, () => ({ tokens: draw() }));
      const others = answers(700, () => ({ tokens: draw() }));
      expect(qualityWeight(own, [others], 1_000, policy)).toBe(1);
    }
  });

  it("is forgiven with time", () => {
    const bad = answers(60, (index) => ({ isValid: index % 4 !== 0 }));
    expect(qualityWeight(bad, [good], 1_000 + 600_000, policy)).toBe(1);
  });
});

describe("repetition", () => {
  it("is the share of runs of four that were there before", () => {
    expect(repeatedShareOf(Array.from({ length: 100 }, (_, index) => index))).toBe(0);
    expect(repeatedShareOf(Array<number>(100).fill(7))).toBeGreaterThan(0.98);
    expect(repeatedShareOf([1, 1, 1, 1, 1])).toBe(0);
  });
});

describe("outliers", () => {
  const ok = ["a", "b", "c", "d"].map((id) => ({ id, successes: 990, failures: 10 }));

  it("are far below the others in success", () => {
    const counts = [...ok, { id: "e", successes: 700, failures: 300 }];
    expect(findOutliers(counts, policy)).toStrictEqual(["e"]);
  });

  it("are none among few shards, with few requests, or when all are alike", () => {
    expect(
      findOutliers([...ok.slice(1), { id: "e", successes: 1, failures: 999 }], policy),
    ).toEqual([]);
    expect(findOutliers([...ok, { id: "e", successes: 1, failures: 98 }], policy)).toEqual([]);
    expect(findOutliers([...ok, { id: "e", successes: 990, failures: 10 }], policy)).toEqual([]);
  });
});

describe("the cap on ejections", () => {
  const shard = (id: string, weight: number) => ({ id, weight, capacity: 10 });

  it("takes out at most its share of the capacity", () => {
    const weights = capEjections(
      [shard("a", 0), shard("b", 0), shard("c", 0.4), shard("d", 1), shard("e", 1)],
      0.3,
      0.3,
    );
    expect(Object.fromEntries(weights)).toStrictEqual({ a: 0, b: 0.3, c: 0.4, d: 1, e: 1 });
  });

  it("takes out none of two at 30 %, and one of two at 50 %", () => {
    expect([...capEjections([shard("a", 0), shard("b", 1)], 0.3, 0.3).values()]).toEqual([0.3, 1]);
    expect([...capEjections([shard("a", 0), shard("b", 0)], 0.5, 0.3).values()]).toEqual([0, 0.3]);
  });
});
