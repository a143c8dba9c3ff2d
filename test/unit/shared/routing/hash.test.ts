import { describe, it } from "vitest";
import { hash64, unitOf } from "#shared/routing/hash.ts";

describe("hash64", () => {
  it("gives the same values for ever: another one would move every prompt to a cold cache", ({
    expect,
  }) => {
    expect(hash64("")).toEqual({ high: 0, low: 0 });
    expect(hash64("eu-west-1a")).toEqual({ high: 2776875244, low: 3880616554 });
    expect(hash64("eu-west-1a/llama-0", hash64("tenant key"))).toEqual({
      high: 2914584754,
      low: 940378811,
    });
  });

  it("tells texts apart that differ in one character, in order, or in where they are cut", ({
    expect,
  }) => {
    const hashes = ["a", "b", "ab", "ba", "a\u0000b", "aa", "aaa", "\u0100", "\u0001"].map((text) =>
      JSON.stringify(hash64(text)),
    );
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it("has no collision among 100,000 neighbouring keys, in both halves together", ({ expect }) => {
    const seen = new Set<number>();
    for (let index = 0; index < 100_000; index += 1) seen.add(unitOf(hash64(`key-${index}`)));
    expect(seen.size).toBe(100_000);
  });

  it("changes half of the bits of each half when one bit of the text changes", ({ expect }) => {
    const bitsOf = (value: number): number => value.toString(2).replaceAll("0", "").length;
    let high = 0;
    let low = 0;
    const rounds = 2_000;
    for (let index = 0; index < rounds; index += 1) {
      const first = hash64(`prompt ${index} a`);
      const second = hash64(`prompt ${index} c`);
      high += bitsOf((first.high ^ second.high) >>> 0) / rounds;
      low += bitsOf((first.low ^ second.low) >>> 0) / rounds;
    }
    expect(high).toBeGreaterThan(15.5);
    expect(high).toBeLessThan(16.5);
    expect(low).toBeGreaterThan(15.5);
    expect(low).toBeLessThan(16.5);
  });
});

describe("unitOf", () => {
  it("stays inside (0, 1) for the lowest and the highest hash", ({ expect }) => {
    expect(unitOf({ high: 0, low: 0 })).toBeGreaterThan(0);
    expect(unitOf({ high: 0xffffffff, low: 0xffffffff })).toBeLessThan(1);
    expect(Math.log(unitOf({ high: 0xffffffff, low: 0xffffffff }))).toBeLessThan(0);
  });

  it("spreads keys evenly over a hundred bins", ({ expect }) => {
    const bins = Array.from({ length: 100 }, () => 0);
    for (let index = 0; index < 100_000; index += 1) {
      const bin = Math.floor(unitOf(hash64(`tenant-${index % 7}/${index}`)) * 100);
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    const chiSquare = bins.reduce((sum, count) => sum + (count - 1_000) ** 2 / 1_000, 0);
    // 99 degrees of freedom: 149 is passed once in a thousand; the keys are fixed, so the result is too.
    expect(chiSquare).toBeLessThan(149);
  });
});
