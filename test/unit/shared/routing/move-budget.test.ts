import { describe, it } from "vitest";
import { chargeMove, newMoveBudget } from "#shared/routing/move-budget.ts";
import { nextHome, noHome } from "#shared/routing/next-home.ts";
import type { Home } from "#shared/routing/next-home.ts";
import type { ShardId } from "#shared/residency/brands.ts";

/** How many of `spills` at each of these times count as they are. */
function counted(
  spill: "once" | "pays",
  active: number,
  spills: number,
  timesMs: readonly number[],
): readonly number[] {
  let budget = newMoveBudget(0);
  return timesMs.map((nowMs) => {
    let count = 0;
    for (let index = 0; index < spills; index += 1) {
      const charged = chargeMove(budget, spill, active, nowMs);
      ({ budget } = charged);
      if (charged.spill !== "held") count += 1;
    }
    return count;
  });
}

describe("moves away from a shard", () => {
  it("are at most a twentieth of its conversations a minute", ({ expect }) => {
    expect(counted("pays", 200, 50, [0, 0, 30_000, 90_000, 3_600_000])).toEqual([10, 0, 5, 10, 10]);
  });

  it("take two spills each, where a spill alone moves nobody", ({ expect }) => {
    expect(counted("once", 200, 50, [0, 60_000])).toEqual([20, 20]);
  });

  it("are possible for a few conversations, too, one in a while", ({ expect }) => {
    expect(counted("pays", 4, 5, [0, 60_000, 300_000])).toEqual([1, 0, 1]);
    expect(counted("pays", 0, 5, [0, 3_600_000])).toEqual([1, 0]);
  });

  it("go on when the clock went back", ({ expect }) => {
    expect(counted("pays", 200, 50, [1_000_000, 0, 60_000])).toEqual([10, 0, 10]);
  });
});

describe("a conversation whose move is held", () => {
  it("keeps its home and is no step closer to leaving it", ({ expect }) => {
    const home = { ...noHome, shard: "c/a" as ShardId };
    const other = "c/b" as ShardId;
    let next: Home = home;
    for (let turn = 0; turn < 5; turn += 1) next = nextHome(next, other, "held", turn);
    expect(next).toMatchObject({ shard: "c/a", spillsInRow: 0 });
    expect(nextHome(next, other, "pays", 10)).toMatchObject({ shard: "c/b" });
  });
});
