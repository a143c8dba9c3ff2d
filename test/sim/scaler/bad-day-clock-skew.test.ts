import { describe, expect, it } from "vitest";
import { Region, aPool, turnsOf } from "./region.ts";

const hourMs = 3_600_000;

describe("clocks that do not agree", () => {
  it.each([-26, -1, 1, 26])("plans the same in a region %i hours off", async (hours) => {
    const exact = new Region([aPool()], { od: 2 });
    const skewed = new Region([aPool()], { od: 2 }, [{ cell: "a", skewMs: hours * hourMs }]);
    for (const region of [exact, skewed]) {
      region.load = (minute) => ({ protected: minute < 60 ? 3 : 1 });
      await region.run(120);
    }
    expect(skewed.samples).toStrictEqual(exact.samples);
  });

  it("lets a leader whose clock is hours ahead hand over without a leap or a freeze", async () => {
    const region = new Region([aPool()], { od: 2 }, [
      { cell: "ahead", skewMs: 7 * hourMs },
      { cell: "behind", skewMs: -7 * hourMs },
    ]);
    region.load = (minute) => ({ protected: minute < 40 ? 3 : 0.5 });
    await region.run(40);
    const atHandOver = region.desired("od");
    region.stopped.add("ahead");
    await region.run(1);
    expect(region.leaders.get("behind")).toStrictEqual([2]);
    expect(region.desired("od")).toBe(atHandOver);
    region.stopped.delete("ahead");
    await region.run(120);
    // What the first leader remembered held the second one back no longer than its own would have.
    expect(region.desired("od")).toBeLessThan(atHandOver);
    expect(turnsOf(region, "od")).toBe(1);
  });
});
