import { expect, it } from "vitest";
import type { ShardId } from "#shared/residency/brands.ts";
import { nextHome } from "#shared/routing/next-home.ts";

const a = "a" as ShardId;
const b = "b" as ShardId;

it("binds a conversation to the shard of its first turn", () => {
  expect(nextHome({ shard: null, spillsInRow: 0 }, a, "best")).toEqual({
    shard: a,
    spillsInRow: 0,
  });
});

it("keeps the home over one spill, forgets it after a turn at home, and moves at the second in a row", () => {
  const once = nextHome({ shard: a, spillsInRow: 0 }, b, "spill");
  expect(once).toEqual({ shard: a, spillsInRow: 1 });
  expect(nextHome(once, a, "home")).toEqual({ shard: a, spillsInRow: 0 });
  expect(nextHome(once, b, "spill")).toEqual({ shard: b, spillsInRow: 0 });
});

it("leaves a home that could not be used at once", () => {
  expect(nextHome({ shard: a, spillsInRow: 0 }, b, "rehome").shard).toBe(b);
});
