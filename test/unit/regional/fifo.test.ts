import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fifo } from "#regional/fifo.ts";

describe("a line", () => {
  it("gives everything once, in the order in which it came", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 60 }), (steps) => {
        const line = new Fifo<number>();
        const expected: number[] = [];
        let next = 0;
        for (const step of steps) {
          // Hundreds at a time, so that the front is cut off on the way.
          for (let count = 0; count < Math.abs(step) * 700; count += 1) {
            if (step > 0) {
              line.push(next);
              expected.push(next);
              next += 1;
            } else {
              expect(line.peek()).toBe(expected[0]);
              if (line.shift() !== expected.shift()) throw new Error("out of order");
            }
          }
          expect(line.length).toBe(expected.length);
        }
      }),
      { numRuns: 30 },
    );
  });

  it("has nothing to give when it is empty, and is of use afterwards", () => {
    const line = new Fifo<string>();
    expect([line.peek(), line.shift(), line.length]).toEqual([undefined, undefined, 0]);
    line.push("a");
    expect([line.shift(), line.length]).toEqual(["a", 0]);
  });
});
