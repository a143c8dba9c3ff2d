import fc from "fast-check";
import { describe, it } from "vitest";
import { remainingStartMs } from "#shared/warming/cold-start-time.ts";
import { nextWakeMs } from "#shared/warming/next-wake.ts";

const middle = (): number => 0.5;

describe("when a shard that was still cold is asked again", () => {
  it.for([
    [60_000, 20_000],
    [3_000, 1_000],
    [100, 500],
    [600_000, 30_000],
    [null, 30_000],
  ] as const)("is after a third of what is left, within bounds: %j", ([left, wait], { expect }) => {
    expect(nextWakeMs(left, null, middle)).toBe(wait);
  });

  it("is never sooner than its platform asked for, up to a minute", ({ expect }) => {
    fc.assert(
      fc.property(
        fc.nat(600_000),
        fc.nat(120_000),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (leftMs, askedMs, unit) => {
          const waitMs = nextWakeMs(leftMs, askedMs, () => unit);
          expect(waitMs).toBeGreaterThanOrEqual(Math.min(60_000, askedMs));
          expect(waitMs).toBeGreaterThan(0);
        },
      ),
    );
  });

  it("costs a few prompts for a start of minutes that takes twice as long as expected", ({
    expect,
  }) => {
    const expectedMs = 260_000;
    let elapsedMs = 0;
    let asked = 1;
    while (elapsedMs < 2 * expectedMs) {
      elapsedMs += nextWakeMs(remainingStartMs(expectedMs, elapsedMs), null, () => 0);
      asked += 1;
    }
    expect(asked).toBeLessThan(30);
  });
});
