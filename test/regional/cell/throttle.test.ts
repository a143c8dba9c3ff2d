import { describe, it } from "vitest";
import { fixedLevel } from "#test/support/level-policies.ts";
import { aCell, aTurn, until } from "./harness.ts";

describe("a cell that refuses most of a class", () => {
  it("says so in its answers, and only of that class", async ({ expect }) => {
    const cell = await aCell({ overrides: { levelPolicy: fixedLevel(4) } });
    const first = await cell.put(aTurn({ priority: "critical" }, { stream: false }));
    expect(first.headers.get("x-meridian-throttle")).toBeNull();
    for (let index = 0; index < 25; index += 1) await cell.put(aTurn({ priority: "batch" }));
    let told: string | null = null;
    await until(async () => {
      const answer = await cell.put(aTurn({ priority: "critical" }, { stream: false }));
      told = answer.headers.get("x-meridian-throttle");
      return told !== null;
    });
    expect(told).toMatch(/^0,0,0,9\d$/);
  });
});
