import { describe, it } from "vitest";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { CellHint, ShardHint } from "#shared/health/hint.ts";
import { hasWarmShard } from "#shared/warming/warm-neighbour.ts";

const nowMs = 1_800_000_000_000;
const shards = [{ id: "c/a", scaleToZeroSeconds: 60 }] as unknown as ShardDescription[];

function aHint(shard: Partial<ShardHint> = {}, cell: Partial<CellHint> = {}): CellHint {
  const own = { id: "c/a", weight: 1, state: "ready", breaker: "closed", ...shard };
  return { atMs: nowMs, weight: 1, shards: [own], ...cell } as unknown as CellHint;
}

describe("another cell", () => {
  it("has a running shard when its young hint says so", ({ expect }) => {
    expect(hasWarmShard(shards, aHint(), false, nowMs)).toBe(true);
  });

  it.for([
    [aHint({ state: "cold" })],
    [aHint({ state: "warming" })],
    [aHint({ breaker: "open" })],
    [aHint({ weight: 0 })],
    [aHint({ id: "c/of-another-model" })],
    [aHint({}, { weight: 0 })],
  ])("has none when its young hint says so, whatever it should keep: %j", ([hint], { expect }) => {
    expect(hasWarmShard(shards, hint, true, nowMs)).toBe(false);
  });

  it.for([
    [undefined],
    [aHint({}, { atMs: nowMs - 120_001 })],
    [aHint({}, { atMs: nowMs + 30_001 })],
  ])(
    "is thought to have what the topology has it keep without a hint to believe: %j",
    ([hint], { expect }) => {
      expect(hasWarmShard(shards, hint, true, nowMs)).toBe(true);
      expect(hasWarmShard(shards, hint, false, nowMs)).toBe(false);
      const steady = [{ id: "c/b" }] as unknown as ShardDescription[];
      expect(hasWarmShard(steady, hint, false, nowMs)).toBe(true);
    },
  );
});
