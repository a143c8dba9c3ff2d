import { describe, it } from "vitest";
import { errorRatioAt } from "#shared/routing/error-ratio.ts";
import {
  expectOutputTokens,
  observeOutputLength,
  unseenOutputLength,
} from "#shared/routing/output-length.ts";

function seen(lengths: readonly number[]) {
  return lengths.reduce(observeOutputLength, unseenOutputLength);
}

describe("the length of an answer", () => {
  it("is expected as the ones before, after a handful of them", ({ expect }) => {
    const { expected, p90 } = expectOutputTokens(
      seen(Array.from({ length: 12 }, () => 1_000)),
      null,
    );
    expect(expected).toBeGreaterThan(700);
    expect(expected).toBeLessThanOrEqual(1_000);
    expect(p90).toBeGreaterThan(expected);
  });

  it("follows a tenant whose answers become short", ({ expect }) => {
    const long = Array.from({ length: 50 }, () => 2_000);
    const short = Array.from({ length: 100 }, () => 20);
    expect(expectOutputTokens(seen([...long, ...short]), null).expected).toBeLessThan(30);
  });

  it("is never more than the client allows, and never less than one token", ({ expect }) => {
    expect(expectOutputTokens(unseenOutputLength, 10)).toEqual({ expected: 10, p90: 10 });
    expect(expectOutputTokens(seen([1, 1, 1]), 0)).toEqual({ expected: 1, p90: 1 });
  });

  it("learns nothing from an answer of no tokens", ({ expect }) => {
    for (const tokens of [0, -1, Number.NaN, Infinity])
      expect(observeOutputLength(unseenOutputLength, tokens)).toBe(unseenOutputLength);
  });
});

describe("the error ratio of a shard that nobody asks any more", () => {
  it("fades to 1 from both sides, and never back in time", ({ expect }) => {
    const bad = { ratio: 8, atMs: 1_000 };
    expect(errorRatioAt(bad, 1_000)).toBe(8);
    expect(errorRatioAt(bad, 11_000)).toBeCloseTo(1 + 7 / Math.E, 6);
    expect(errorRatioAt(bad, 0)).toBe(8);
    expect(errorRatioAt({ ratio: 0.5, atMs: 0 }, 100_000)).toBeCloseTo(1, 3);
  });
});
