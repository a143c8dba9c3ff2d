import { afterAll, describe, expect, it } from "vitest";
import { crashTurn, victims } from "./crash-points.ts";
import type { TurnShape } from "./crash-points.ts";

const shapes: Readonly<Record<string, TurnShape>> = {
  "a streamed chat": { api: "chat", stream: true, isBackground: false },
  "a streamed response": { api: "responses", stream: true, isBackground: false },
  "a whole chat": { api: "chat", stream: false, isBackground: false },
  "a background response": { api: "responses", stream: false, isBackground: true },
};

/**
 * The crash points of one turn, enumerated: every event of a turn, from the first call to the client's last byte, is a point
 * before which each part dies once. They are more than the named ones (authenticated, reserved, rows durable, lease, PUT, slot,
 * dispatched, first byte, buffered, relayed, held, completed, sent, committed, acknowledged) and lie between all of them.
 */
describe.each(Object.entries(shapes))("%s", (name, shape) => {
  let points = 0;

  afterAll(() => {
    console.log(`crash points of ${name}: ${points} deaths`);
  });

  it("comes to its end when nothing dies", async () => {
    const run = await crashTurn(shape, null, Infinity);
    expect(run.violations).toEqual([]);
    expect(run.isAtRest).toBe(true);
    expect(run.events).toBeGreaterThan(20);
  });

  it.each(victims)(
    "holds every invariant at whichever point it dies: %s",
    async (victim) => {
      const { events } = await crashTurn(shape, null, Infinity);
      const broken: string[] = [];
      for (let after = 0; after <= events; after += 1) {
        const run = await crashTurn(shape, victim, after);
        for (const { invariant, detail } of run.violations) {
          broken.push(`after ${after} of ${events} events: ${invariant} ${detail}`);
        }
        if (!run.isAtRest) broken.push(`after ${after} of ${events} events: no rest`);
      }
      points += events + 1;
      expect(broken).toEqual([]);
    },
    300_000,
  );
});
