import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rankByChance, rankByRendezvous } from "#shared/routing/rendezvous.ts";
import type { WeightedTarget } from "#shared/routing/rendezvous.ts";

const targets = fc.uniqueArray(
  fc.record({
    id: fc.string({ minLength: 1, maxLength: 12 }),
    weight: fc.double({ min: 0.01, max: 10_000, noNaN: true }),
  }),
  { minLength: 2, maxLength: 12, selector: ({ id }) => id },
);

/** Share of 20,000 fixed keys that each target gets. */
function shares(list: readonly WeightedTarget<string>[]): Map<string, number> {
  const won = new Map<string, number>();
  for (let index = 0; index < 20_000; index += 1) {
    const first = rankByRendezvous(`key ${index}`, list)[0] ?? "";
    won.set(first, (won.get(first) ?? 0) + 1 / 20_000);
  }
  return won;
}

describe("rankByRendezvous", () => {
  it("ranks every target once, whatever the order of the list", () => {
    fc.assert(
      fc.property(fc.string(), targets, (key, list) => {
        const ranked = rankByRendezvous(key, list);
        expect([...ranked].toSorted()).toEqual(list.map(({ id }) => id).toSorted());
        expect(rankByRendezvous(key, list.toReversed())).toEqual(ranked);
      }),
    );
  });

  it("leaves the order of the others alone when one is removed, so that only its keys move", () => {
    fc.assert(
      fc.property(fc.string(), targets, fc.nat(), (key, list, index) => {
        const removed = list[index % list.length]?.id;
        const rest = list.filter(({ id }) => id !== removed);
        const expected = rankByRendezvous(key, list).filter((id) => id !== removed);
        expect(rankByRendezvous(key, rest)).toEqual(expected);
      }),
    );
  });

  it("moves keys only towards a target whose weight rises", () => {
    fc.assert(
      fc.property(fc.string(), targets, fc.nat(), (key, list, index) => {
        const raised = list[index % list.length]?.id;
        const heavier = list.map(({ id, weight }) => ({
          id,
          weight: id === raised ? weight * 3 : weight,
        }));
        const [before] = rankByRendezvous(key, list);
        const [after] = rankByRendezvous(key, heavier);
        expect([before, raised]).toContain(after);
      }),
    );
  });

  it("gives keys in proportion to weights", () => {
    const won = shares([
      { id: "eu-west-1a", weight: 64 },
      { id: "eu-west-1b", weight: 128 },
      { id: "eu-central-1a", weight: 448 },
    ]);
    expect(won.get("eu-west-1a")).toBeCloseTo(0.1, 1.7);
    expect(won.get("eu-west-1b")).toBeCloseTo(0.2, 1.7);
    expect(won.get("eu-central-1a")).toBeCloseTo(0.7, 1.7);
  });

  it("moves about a fifth of the keys when one of five equals goes, each to another", () => {
    const five = Array.from({ length: 5 }, (_, index) => ({ id: `shard-${index}`, weight: 64 }));
    const moved = new Map<string, number>();
    for (let index = 0; index < 20_000; index += 1) {
      const before = rankByRendezvous(`key ${index}`, five)[0];
      const after = rankByRendezvous(`key ${index}`, five.slice(1))[0] ?? "";
      if (before !== after) moved.set(after, (moved.get(after) ?? 0) + 1 / 20_000);
    }
    const total = [...moved.values()].reduce((sum, share) => sum + share, 0);
    expect(total).toBeCloseTo(0.2, 1.7);
    // What falls on each of the others is about the same: no neighbour takes it all.
    for (const share of moved.values()) expect(share).toBeCloseTo(0.05, 1.7);
    expect(moved.size).toBe(4);
  });

  it("puts targets without weight last, in a fixed order", () => {
    fc.assert(
      fc.property(fc.string(), (key) => {
        const list = [
          { id: "b", weight: 0 },
          { id: "c", weight: 1 },
          { id: "a", weight: -1 },
        ];
        expect(rankByRendezvous(key, list)).toEqual(["c", "a", "b"]);
      }),
    );
  });
});

describe("rankByChance", () => {
  it("ranks every target once even when chance gives only zeros", () => {
    const list = [
      { id: "a", weight: 1 },
      { id: "b", weight: 2 },
    ];
    expect(rankByChance(() => 0, list).toSorted()).toEqual(["a", "b"]);
  });

  it("draws in proportion to weights", () => {
    let state = 1;
    const random = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
    let first = 0;
    for (let round = 0; round < 10_000; round += 1) {
      const [winner] = rankByChance(random, [
        { id: "small", weight: 1 },
        { id: "large", weight: 3 },
      ]);
      if (winner === "large") first += 1 / 10_000;
    }
    expect(first).toBeCloseTo(0.75, 1.7);
  });
});
