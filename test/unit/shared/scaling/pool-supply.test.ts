import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newPoolState, noteOrder, noteShortage, viewSupply } from "#shared/scaling/pool-supply.ts";
import type { PoolState } from "#shared/scaling/pool-supply.ts";

const policy = { startMs: 60_000, shortMs: 600_000 };

function seen(state: PoolState, ready: number, nowMs: number): PoolState {
  const supply = viewSupply(state, { desired: state.target ?? ready, ready }, nowMs, policy);
  return supply?.state ?? state;
}

describe("the starts of a pool's replicas", () => {
  const there = seen(newPoolState, 2, 0);

  it("take from their order to their answer, each on its own", () => {
    const first = noteOrder(there, { target: 4, there: 2 }, 1_000);
    const second = noteOrder(seen(first, 2, 10_000), { target: 5, there: 4 }, 11_000);
    expect(second.asks).toStrictEqual([
      { atMs: 1_000, replicas: 2 },
      { atMs: 11_000, replicas: 1 },
    ]);
    const one = seen(second, 3, 31_000);
    expect(one.startsMs).toStrictEqual([30_000]);
    const all = seen(one, 5, 41_000);
    expect(all.startsMs).toStrictEqual([30_000, 40_000, 30_000]);
    expect(all.asks).toStrictEqual([]);
  });

  it("are longer for late ones, however often they were asked for", () => {
    const asked = noteOrder(there, { target: 3, there: 2 }, 0);
    const late = seen(asked, 2, 70_000);
    expect(late.askedAtMs).toBeNull();
    const again = noteOrder(late, { target: 3, there: 2 }, 75_000);
    expect(seen(again, 3, 200_000).startsMs).toStrictEqual([200_000]);
  });

  it("are none of what was never to be had, was taken back, or came of itself", () => {
    const asked = noteOrder(there, { target: 4, there: 2 }, 0);
    expect(seen(noteShortage(asked, 1_000, policy), 4, 9_000).startsMs).toStrictEqual([]);
    expect(seen(seen(asked, 2, 3_700_000), 4, 3_800_000).startsMs).toStrictEqual([]);
    const less = noteOrder(asked, { target: 3, there: 4 }, 5_000);
    expect(less.asks).toStrictEqual([{ atMs: 0, replicas: 1 }]);
    expect(seen(less, 4, 8_000).startsMs).toStrictEqual([8_000]);
    expect(seen(there, 6, 8_000).startsMs).toStrictEqual([]);
  });

  it("are bounded, whatever comes and goes", () => {
    const steps = fc.array(
      fc.record({ target: fc.nat(40), ready: fc.nat(40), byMs: fc.nat(100_000) }),
      { maxLength: 80 },
    );
    fc.assert(
      fc.property(steps, (of) => {
        let state = there;
        let nowMs = 0;
        for (const { byMs, ready, target } of of) {
          nowMs += byMs;
          state = noteOrder(state, { target, there: ready }, nowMs);
          state = seen(state, ready, nowMs);
          expect(state.startsMs.length).toBeLessThanOrEqual(15);
          expect(state.asks.length).toBeLessThanOrEqual(32);
          expect(state.asks.every(({ replicas }) => replicas > 0)).toBe(true);
          for (const one of state.startsMs) {
            expect(one).toBeGreaterThanOrEqual(0);
            expect(one).toBeLessThanOrEqual(3_600_000);
          }
        }
      }),
    );
  });
});
