import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assignReplicas } from "#shared/scaling/assign-replicas.ts";
import { countByZone, leftWithoutLargest, reserveOf } from "#shared/scaling/zone-reserve.ts";
import type { ZonedPool } from "#shared/scaling/zone-reserve.ts";

function aPool(id: string, fields: Partial<ZonedPool> = {}): ZonedPool {
  return {
    id,
    zones: [id],
    replicasMin: 0,
    replicasMax: 20,
    there: 0,
    isFrozen: false,
    isShort: false,
    ...fields,
  };
}

describe("firm replicas that are kept for the loss of a zone", () => {
  it("are twice what shall be left over two zones, half as much again over three", () => {
    expect(reserveOf([aPool("a"), aPool("b")], {}, 6)).toBe(12);
    expect(reserveOf([aPool("a"), aPool("b"), aPool("c")], {}, 6)).toBe(9);
  });

  it("are none where there is one zone, or nothing to be left", () => {
    expect(reserveOf([aPool("a"), aPool("b", { zones: ["a"] })], {}, 6)).toBe(0);
    expect(reserveOf([aPool("a"), aPool("b", { replicasMax: 0 })], {}, 6)).toBe(0);
    expect(reserveOf([aPool("a"), aPool("b")], {}, 0)).toBe(0);
    expect(reserveOf([], {}, 6)).toBe(0);
  });

  it("count what no pool has", () => {
    expect(reserveOf([aPool("a")], { b: 6 }, 6)).toBe(12);
    expect(reserveOf([], { a: 3, b: 3 }, 6)).toBe(6);
  });

  it("are what there is and what has to come while too few would be left", () => {
    expect(reserveOf([aPool("a", { there: 9 }), aPool("b")], {}, 6)).toBe(15);
    expect(reserveOf([aPool("a", { there: 9 }), aPool("b", { there: 6 })], {}, 6)).toBe(12);
  });

  it("are only as many as help", () => {
    expect(reserveOf([aPool("a"), aPool("b", { replicasMax: 2 })], {}, 6)).toBe(4);
    const stuck = aPool("b", { there: 1, isFrozen: true });
    expect(reserveOf([aPool("a", { there: 5 }), stuck], {}, 6)).toBe(6);
    const short = aPool("b", { there: 1, isShort: true });
    expect(reserveOf([aPool("a", { there: 5 }), short], {}, 6)).toBe(6);
  });

  it("are where the shards of a pool are, one after the other", () => {
    const turns = aPool("turns", { zones: ["a", "b", "a", "b"], replicasMax: 4 });
    const blocks = aPool("blocks", { zones: ["a", "a", "b", "b"], replicasMax: 4 });
    expect(reserveOf([turns], {}, 1)).toBe(2);
    expect(reserveOf([blocks], {}, 1)).toBe(3);
  });

  const pools = fc
    .array(
      fc.record({
        zones: fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 4 }),
        replicasMin: fc.nat(2),
        replicasMax: fc.integer({ min: 2, max: 12 }),
        there: fc.nat(12),
        isFrozen: fc.boolean(),
        isShort: fc.boolean(),
      }),
      { minLength: 1, maxLength: 4 },
    )
    .map((shapes) =>
      shapes.map((shape, index) =>
        aPool(`p${index}`, { ...shape, there: Math.min(shape.there, shape.replicasMax) }),
      ),
    );
  const fixed = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.nat(4));

  it("are there after the split, as far as replicas can come that help", () => {
    fc.assert(
      fc.property(pools, fixed, fc.nat(10), (shapes, kept, left) => {
        const reserve = reserveOf(shapes, kept, left);
        const keptTotal = Object.values(kept).reduce((sum, one) => sum + one, 0);
        const { counts } = assignReplicas(
          shapes.map((pool) => ({
            ...pool,
            isFirm: true,
            priceMicroUsd: 1,
            replicasPerInstance: 1,
          })),
          {
            total: reserve - keptTotal,
            firm: reserve - keptTotal,
            left,
            fixed: kept,
            mayShrink: false,
          },
        );
        const after = leftWithoutLargest(countByZone(shapes, (id) => counts.get(id) ?? 0, kept));
        const start = leftWithoutLargest(
          countByZone(
            shapes,
            (id) => {
              const pool = shapes.find((one) => one.id === id);
              return pool === undefined
                ? 0
                : pool.isFrozen
                  ? pool.there
                  : Math.max(pool.replicasMin, pool.there);
            },
            kept,
          ),
        );
        expect(after).toBeGreaterThanOrEqual(start);
        if (after >= left) return;
        // All that could still come would be where most are already.
        const growable = shapes.filter(
          ({ id, isFrozen, isShort, replicasMax }) =>
            !isFrozen && !isShort && (counts.get(id) ?? 0) < replicasMax,
        );
        const byZone = countByZone(shapes, (id) => counts.get(id) ?? 0, kept);
        const zones = new Set(
          growable.flatMap(({ id, replicasMax, zones: places }) =>
            Array.from(
              { length: replicasMax - (counts.get(id) ?? 0) },
              (_, more) => places[Math.min((counts.get(id) ?? 0) + more, places.length - 1)] ?? "",
            ),
          ),
        );
        const most = Math.max(0, ...byZone.values());
        const full = [...zones].every((zone) => (byZone.get(zone) ?? 0) === most);
        expect(zones.size < 2 && full).toBe(true);
      }),
    );
  });

  it("never want fewer for more to be left", () => {
    fc.assert(
      fc.property(pools, fixed, fc.nat(10), (shapes, kept, left) => {
        expect(reserveOf(shapes, kept, left + 1)).toBeGreaterThanOrEqual(
          reserveOf(shapes, kept, left),
        );
      }),
    );
  });
});
