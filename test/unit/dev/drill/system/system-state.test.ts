import { describe, expect, it } from "vitest";
import { isEveryShardUsed, isLevelZero, levelIn } from "#dev/drill/system/system-state.ts";

describe("the level in a cell's metrics", () => {
  it("is read with and without labels", () => {
    expect(levelIn("meridian_overload_level 2\n")).toBe(2);
    expect(
      levelIn('# TYPE meridian_overload_level gauge\nmeridian_overload_level{cell="a"} 3\n'),
    ).toBe(3);
  });

  it("is the highest of several series", () => {
    const text = 'meridian_overload_level{model="a"} 0\nmeridian_overload_level{model="b"} 4\n';
    expect(levelIn(text)).toBe(4);
  });

  it("is unknown without the metric", () => {
    expect(levelIn("meridian_overload_level_changes_total 7\nup 1\n")).toBeNull();
  });
});

describe("a system as it was before", () => {
  const unusedShards = {};

  it("has every cell at level 0, or none that tells a level", () => {
    expect(isLevelZero({ levels: { a: 0, b: 0 }, unusedShards })).toBe(true);
    expect(isLevelZero({ levels: { a: null, b: null }, unusedShards })).toBe(true);
  });

  it("has no cell at a raised level, and none that is silent while others tell", () => {
    expect(isLevelZero({ levels: { a: 0, b: 1 }, unusedShards })).toBe(false);
    expect(isLevelZero({ levels: { a: 0, b: null }, unusedShards })).toBe(false);
  });

  it("uses every shard", () => {
    expect(isEveryShardUsed({ levels: {}, unusedShards })).toBe(true);
    expect(isEveryShardUsed({ levels: {}, unusedShards: { s: "is draining" } })).toBe(false);
  });
});
