import { describe, expect, it } from "vitest";
import { createPrefixIndex } from "#shared/routing/prefix-index.ts";

function matched(index: ReturnType<typeof createPrefixIndex>, keys: number[]): number[] {
  const into: number[] = [];
  index.match(keys, into);
  return into;
}

describe("the prefix index", () => {
  it("counts leading chunks per shard, and stops at the first that is missing", () => {
    const index = createPrefixIndex([10, 10, 10]);
    index.insert(0, [1, 2, 3]);
    index.insert(1, [1, 9]);
    expect(matched(index, [1, 2, 3, 4])).toEqual([3, 1, 0]);
    expect(matched(index, [5, 2, 3])).toEqual([0, 0, 0]);
  });

  it("forgets the tail of the least recent prompt first, and never holds more than the shard", () => {
    const index = createPrefixIndex([4]);
    index.insert(0, [1, 2]);
    index.insert(0, [3, 4]);
    index.insert(0, [1, 2]);
    index.insert(0, [5]);
    expect(matched(index, [3, 4])).toEqual([1]);
    expect(matched(index, [1, 2])).toEqual([2]);
    index.insert(0, [10, 11, 12, 13, 14, 15]);
    expect(matched(index, [10, 11, 12, 13, 14, 15])).toEqual([4]);
  });

  it("forgets a shard that lost its memory and ignores one it does not know", () => {
    const index = createPrefixIndex([4, 4]);
    index.insert(0, [1]);
    index.insert(1, [1]);
    index.insert(7, [1]);
    index.clear(0);
    expect(matched(index, [1])).toEqual([0, 1]);
  });
});
