import { describe, it } from "vitest";
import { fixedLevel } from "#test/support/level-policies.ts";
import { hangsAfter, says } from "#test/support/fake-engine.ts";
import { aCell, aTurn, until } from "./harness.ts";

describe("a cell that refuses most of a class", () => {
  it("says so in its answers, and only of that class", async ({ expect }) => {
    const cell = await aCell({
      engines: 2,
      concurrentRequestsMax: 2,
      overrides: { levelPolicy: fixedLevel(4) },
    });
    const first = await cell.put(aTurn({ priority: "critical" }, { stream: false }));
    expect(first.headers.get("x-meridian-throttle")).toBeNull();
    // Half of the cell is busy: more than a class may find that is let in only where there is room.
    for (const engine of cell.engines) engine.answer = hangsAfter("x");
    for (const tenant of ["a", "b"]) await cell.put(aTurn({ priority: "critical", tenant }));
    for (const engine of cell.engines) engine.answer = says("Hello");
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
