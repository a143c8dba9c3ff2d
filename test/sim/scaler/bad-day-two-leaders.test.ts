import { describe, expect, it } from "vitest";
import { Region, aPool, turnsOf } from "./region.ts";

const cells = [{ cell: "a" }, { cell: "b" }];

function tokensInOrder(region: Region): boolean {
  const tokens = region.platform.orders.map(({ token }) => token);
  return tokens.every((token, index) => token >= (tokens[index - 1] ?? 0));
}

describe("two cells that could lead", () => {
  it("have one leader, and orders of one token", async () => {
    const region = new Region([aPool()], { od: 2 }, cells);
    region.load = (minute) => ({ protected: minute < 60 ? 4 : 1 });
    await region.run(120);
    expect([...region.leaders]).toStrictEqual([["a", [1]]]);
    expect(new Set(region.platform.orders.map(({ token }) => token))).toStrictEqual(new Set([1]));
  });

  it("hand over when the leader is gone, and again when it comes back, without going back and forth", async () => {
    const region = new Region([aPool()], { od: 2 }, cells);
    region.load = () => ({ protected: 3 });
    for (let round = 0; round < 4; round += 1) {
      region.stopped.add(round % 2 === 0 ? "a" : "b");
      await region.run(5);
      region.stopped.clear();
      await region.run(5);
    }
    expect(tokensInOrder(region)).toBe(true);
    expect(turnsOf(region, "od")).toBe(0);
  });

  it("do nothing while the database is away, though demand falls to nothing", async () => {
    const region = new Region([aPool()], { od: 4 }, cells);
    region.load = () => ({ protected: 2.5 });
    await region.run(30);
    const { length } = region.platform.orders;
    region.store.isAway = true;
    region.load = () => ({ protected: 0 });
    await region.run(120);
    expect(region.platform.orders).toHaveLength(length);
    region.store.isAway = false;
    await region.run(5);
    expect(region.platform.orders).toHaveLength(length);
  });

  it("do not shrink while one of them tells nothing", async () => {
    const region = new Region([aPool()], { od: 6 }, cells);
    region.load = () => ({ protected: 3 });
    await region.run(10);
    region.stopped.add("b");
    // Half of the work is no longer told.
    await region.run(60);
    expect(turnsOf(region, "od")).toBe(0);
    expect(region.desired("od")).toBeGreaterThanOrEqual(6);
  });
});
