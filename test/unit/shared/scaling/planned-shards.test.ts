import { describe, expect, it } from "vitest";
import type { ShardId } from "#shared/residency/brands.ts";
import { plannedShards, readPlannedReplicas } from "#shared/scaling/planned-shards.ts";

const ids = (...names: readonly string[]): readonly ShardId[] => names as readonly ShardId[];
const pools = [
  { id: "one", shards: ids("a/0", "b/0", "a/1", "b/1") },
  { id: "two", shards: ids("a/2") },
];
const ofCell = (cell: string) => (shard: ShardId) => shard.startsWith(`${cell}/`);

describe("the shards that a plan wants up", () => {
  it("are the first of each pool as listed, counted by cell", () => {
    const planned = new Map([
      ["one", 3],
      ["two", 1],
    ]);
    expect(plannedShards(pools, planned, ofCell("a"))).toBe(3);
    expect(plannedShards(pools, planned, ofCell("b"))).toBe(1);
    expect(plannedShards(pools, new Map([["one", 99]]), ofCell("b"))).toBe(2);
    expect(plannedShards(pools, new Map(), ofCell("a"))).toBe(0);
  });
});

describe("a plan that is read back", () => {
  it("has the replicas of each pool, never fewer than none", () => {
    const text = JSON.stringify({
      v: 1,
      pools: [
        { pool: "one", replicas: 3, ready: 1 },
        { pool: "two", replicas: -1 },
      ],
    });
    expect(readPlannedReplicas(text)).toEqual(
      new Map([
        ["one", 3],
        ["two", 0],
      ]),
    );
  });

  it.each([
    "",
    "{",
    "null",
    "[]",
    "{}",
    '{"pools":{}}',
    '{"pools":[null]}',
    '{"pools":[{"pool":"a"}]}',
    '{"pools":[{"pool":1,"replicas":1}]}',
    '{"pools":[{"pool":"a","replicas":1.5}]}',
    '{"pools":[{"pool":"a","replicas":"1"}]}',
  ])("is none when it is %s", (text) => {
    expect(readPlannedReplicas(text)).toBeNull();
  });
});
