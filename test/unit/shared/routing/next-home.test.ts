import { describe, it } from "vitest";
import type { ShardId } from "#shared/residency/brands.ts";
import { movePays, nextHome, noHome } from "#shared/routing/next-home.ts";
import type { Home, Spill } from "#shared/routing/next-home.ts";

const a = "a" as ShardId;
const b = "b" as ShardId;
const atHome: Home = { ...noHome, shard: a };

function after(home: Home, turns: readonly (readonly [ShardId, Spill | null, number])[]): Home {
  return turns.reduce((left, [shard, spill, nowMs]) => nextHome(left, shard, spill, nowMs), home);
}

describe("a conversation's home", () => {
  it("is the shard of its first turn", ({ expect }) => {
    expect(nextHome(noHome, a, null, 0)).toEqual(atHome);
  });

  it("is kept over one spill, and over two with a turn at home between", ({ expect }) => {
    expect(after(atHome, [[b, "once", 0]])).toMatchObject({ shard: a, spillsInRow: 1 });
    const twice = after(atHome, [
      [b, "once", 0],
      [a, null, 1],
      [b, "once", 2],
    ]);
    expect(twice).toMatchObject({ shard: a, spillsInRow: 1 });
  });

  it("moves at the second spill in a row, and at the first that pays", ({ expect }) => {
    const second = after(atHome, [
      [b, "once", 0],
      [b, "once", 1],
    ]);
    expect(second).toEqual({ shard: b, spillsInRow: 0, turnsSinceMove: 0, movedAtMs: [1] });
    expect(nextHome(atHome, b, "pays", 0).shard).toBe(b);
  });

  it("is left at once when it could not be used, however often", ({ expect }) => {
    const forced = after(atHome, [
      [b, null, 0],
      [a, null, 1],
      [b, null, 2],
      [a, null, 3],
    ]);
    expect(forced).toMatchObject({ shard: a, movedAtMs: [] });
  });

  it("stays for a minute and two turns after a move", ({ expect }) => {
    const moved = nextHome(atHome, b, "pays", 0);
    expect(nextHome(moved, a, "pays", 60_000).shard).toBe(b);
    const oneTurn = nextHome(moved, b, null, 1_000);
    expect(nextHome(oneTurn, a, "pays", 59_999).shard).toBe(b);
    expect(nextHome(oneTurn, a, "pays", 60_000).shard).toBe(a);
  });

  it("moves at most three times in ten minutes", ({ expect }) => {
    let home = atHome;
    let moves = 0;
    for (let turn = 0; turn < 100; turn += 1) {
      const other = home.shard === a ? b : a;
      const next = nextHome(home, other, "pays", turn * 5_999);
      if (next.shard !== home.shard) moves += 1;
      home = next;
    }
    expect(moves).toBe(3);
    expect(home.movedAtMs).toHaveLength(3);
    expect(nextHome(home, a === home.shard ? b : a, "pays", 900_000).movedAtMs).toHaveLength(3);
  });
});

describe("movePays", () => {
  const move = { contextTokens: 10_000, cachedTokens: 0, prefillTokensPerSecond: 10_000 };

  it("weighs the turns to come against computing anew what only the home has", ({ expect }) => {
    expect(movePays({ ...move, gapSeconds: 0.51 })).toBe(true);
    expect(movePays({ ...move, gapSeconds: 0.49 })).toBe(false);
    expect(movePays({ ...move, gapSeconds: 0.01, cachedTokens: 10_000 })).toBe(true);
    expect(movePays({ ...move, gapSeconds: 0, cachedTokens: 20_000 })).toBe(false);
    expect(movePays({ ...move, gapSeconds: -1 })).toBe(false);
  });
});
