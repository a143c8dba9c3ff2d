import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assignReplicas } from "#shared/scaling/assign-replicas.ts";
import type { AssignablePool } from "#shared/scaling/assign-replicas.ts";

function aPool(id: string, fields: Partial<AssignablePool> = {}): AssignablePool {
  return {
    id,
    isFirm: true,
    priceMicroUsd: 1_000,
    replicasPerInstance: 1,
    replicasMin: 0,
    replicasMax: 10,
    there: 0,
    isShort: false,
    isFrozen: false,
    ...fields,
  };
}

function counts(
  pools: readonly AssignablePool[],
  total: number,
  more: { firm?: number; mayShrink?: boolean } = {},
) {
  const { firm = 0, mayShrink = false } = more;
  const assignment = assignReplicas(pools, { total, firm, mayShrink });
  return { ...assignment, counts: Object.fromEntries(assignment.counts) };
}

describe("replicas of a model, shared between pools", () => {
  it("go to the cheapest that may have more", () => {
    const dear = aPool("dear", { priceMicroUsd: 3 });
    const cheap = aPool("cheap", { priceMicroUsd: 1, replicasMax: 2 });
    expect(counts([dear, cheap], 5).counts).toStrictEqual({ dear: 3, cheap: 2 });
  });

  it("fill an instance that is paid for before another is bought", () => {
    const packed = aPool("packed", { priceMicroUsd: 4, replicasPerInstance: 4, there: 1 });
    const single = aPool("single", { priceMicroUsd: 1 });
    expect(counts([packed, single], 4).counts).toStrictEqual({ packed: 4, single: 0 });
    expect(counts([packed, single], 5).counts).toStrictEqual({ packed: 4, single: 1 });
  });

  it("are firm as far as they must be, and never more than two fifths in one spot pool", () => {
    const pools = [
      aPool("firm", { priceMicroUsd: 9 }),
      aPool("spot", { isFirm: false, priceMicroUsd: 1 }),
    ];
    expect(counts(pools, 5, { firm: 4 }).counts).toStrictEqual({ firm: 4, spot: 1 });
    expect(counts(pools, 5, { firm: 0 }).counts).toStrictEqual({ firm: 3, spot: 2 });
  });

  it("leave the dearest first, and only when they may", () => {
    const pools = [
      aPool("dear", { priceMicroUsd: 3, there: 3, replicasMin: 1 }),
      aPool("cheap", { priceMicroUsd: 1, there: 3 }),
    ];
    expect(counts(pools, 2).counts).toStrictEqual({ dear: 3, cheap: 3 });
    expect(counts(pools, 3, { mayShrink: true }).counts).toStrictEqual({ dear: 1, cheap: 2 });
  });

  it("do not leave firm pools below what must be firm", () => {
    const pools = [
      aPool("firm", { priceMicroUsd: 9, there: 3 }),
      aPool("spot", { isFirm: false, priceMicroUsd: 1, there: 2 }),
    ];
    expect(counts(pools, 3, { firm: 3, mayShrink: true }).counts).toStrictEqual({
      firm: 3,
      spot: 0,
    });
  });

  it("ask a pool last that was short, but ask it", () => {
    const pools = [
      aPool("short", { priceMicroUsd: 1, isShort: true }),
      aPool("whole", { priceMicroUsd: 9, replicasMax: 2 }),
    ];
    expect(counts(pools, 3).counts).toStrictEqual({ short: 1, whole: 2 });
  });

  it("stay where they are when a price is missing, minima aside", () => {
    const pools = [
      aPool("known", { there: 2 }),
      aPool("unknown", { there: 0, replicasMin: 1, priceMicroUsd: null }),
    ];
    expect(counts(pools, 6)).toMatchObject({
      counts: { known: 2, unknown: 1 },
      isPriceMissing: true,
      unplaced: 3,
    });
  });

  it("leave a pool alone that cannot be seen", () => {
    const pools = [aPool("unseen", { there: 2, isFrozen: true }), aPool("seen")];
    expect(counts(pools, 5).counts).toStrictEqual({ unseen: 2, seen: 3 });
    expect(counts(pools, 0, { mayShrink: true }).counts).toStrictEqual({ unseen: 2, seen: 0 });
  });

  it("tell what has no place", () => {
    expect(counts([aPool("only", { replicasMax: 2 })], 5).unplaced).toBe(3);
    expect(counts([], 2)).toMatchObject({ counts: {}, unplaced: 2 });
  });

  it("never fall below a minimum nor grow beyond a maximum, whatever is wanted", () => {
    const arbitraryPool = fc.record({
      isFirm: fc.boolean(),
      priceMicroUsd: fc.option(fc.nat(5)),
      replicasPerInstance: fc.integer({ min: 1, max: 4 }),
      replicasMin: fc.nat(3),
      replicasMax: fc.integer({ min: 3, max: 8 }),
      there: fc.nat(10),
      isShort: fc.boolean(),
    });
    const wanted = fc.record({ total: fc.nat(30), firm: fc.nat(30), mayShrink: fc.boolean() });
    fc.assert(
      fc.property(fc.array(arbitraryPool, { maxLength: 4 }), wanted, (shapes, want) => {
        const pools = shapes.map((shape, index) => aPool(`p${index}`, shape));
        const { counts: given } = assignReplicas(pools, want);
        for (const { id, replicasMax, replicasMin, there } of pools) {
          const count = given.get(id) ?? -1;
          expect(count).toBeGreaterThanOrEqual(replicasMin);
          expect(count).toBeLessThanOrEqual(Math.max(replicasMax, there));
          if (!want.mayShrink) expect(count).toBeGreaterThanOrEqual(there);
        }
      }),
    );
  });
});
