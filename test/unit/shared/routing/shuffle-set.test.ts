import { describe, it } from "vitest";
import type { ShardId } from "#shared/residency/brands.ts";
import { shuffleSet, shuffleSetSize } from "#shared/routing/shuffle-set.ts";

const isPart = (set: ReadonlySet<ShardId>, whole: ReadonlySet<ShardId>): boolean =>
  [...set].every((shard) => whole.has(shard));
const shardsOf = (count: number): readonly ShardId[] =>
  Array.from({ length: count }, (_, index) => `c/s-${index}` as ShardId);

describe("a tenant's shuffle set", () => {
  it.for([
    [0, 0, 0],
    [1, 1, 1],
    [2, 2, 2],
    [5, 2, 2],
    [6, 3, 3],
    [8, 3, 4],
    [16, 6, 8],
  ] as const)("of %i shards has %i, or %i for the critical class", (row, { expect }) => {
    const [count, size, critical] = row;
    expect(shuffleSetSize(count, "standard")).toBe(size);
    expect(shuffleSet("acme", shardsOf(count), "standard").size).toBe(size);
    expect(shuffleSet("acme", shardsOf(count), "critical").size).toBe(critical);
  });

  it("is the same every time and for every order, and part of the critical class's", ({
    expect,
  }) => {
    const shards = shardsOf(8);
    const own = shuffleSet("acme", shards, "interactive");
    expect(shuffleSet("acme", shards.toReversed(), "interactive")).toEqual(own);
    expect(isPart(own, shuffleSet("acme", shards, "critical"))).toBe(true);
  });

  it("is rarely another tenant's whole set, and every shard is in about as many", ({ expect }) => {
    const shards = shardsOf(8);
    const own = shuffleSet("acme", shards, "interactive");
    const uses = new Map<ShardId, number>();
    let same = 0;
    for (let tenant = 0; tenant < 1_000; tenant += 1) {
      const set = shuffleSet(`tenant-${tenant}`, shards, "interactive");
      if (isPart(set, own)) same += 1;
      for (const shard of set) uses.set(shard, (uses.get(shard) ?? 0) + 1);
    }
    // 1 of 56 sets.
    expect(same).toBeLessThan(40);
    expect(Math.min(...uses.values())).toBeGreaterThan(300);
    expect(Math.max(...uses.values())).toBeLessThan(450);
  });

  it("changes by one shard at most when a shard is added", ({ expect }) => {
    for (let tenant = 0; tenant < 100; tenant += 1) {
      const before = shuffleSet(`tenant-${tenant}`, shardsOf(7), "interactive");
      const after = shuffleSet(`tenant-${tenant}`, shardsOf(8), "interactive");
      expect([...before].filter((shard) => !after.has(shard)).length).toBeLessThanOrEqual(1);
    }
  });
});
