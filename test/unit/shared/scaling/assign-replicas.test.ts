import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assignReplicas } from "#shared/scaling/assign-replicas.ts";
import type { AssignablePool, Wanted } from "#shared/scaling/assign-replicas.ts";

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
    zones: ["a"],
    ...fields,
  };
}

function counts(pools: readonly AssignablePool[], total: number, more: Partial<Wanted> = {}) {
  const assignment = assignReplicas(pools, {
    total,
    firm: 0,
    left: 0,
    fixed: {},
    mayShrink: false,
    ...more,
  });
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
    const spot = (id: string) => aPool(id, { isFirm: false, priceMicroUsd: 1 });
    const pools = [aPool("firm", { priceMicroUsd: 9 }), spot("a"), spot("b"), spot("c")];
    expect(counts(pools, 5, { firm: 4 }).counts).toStrictEqual({ firm: 4, a: 1, b: 0, c: 0 });
    expect(counts(pools, 5, { firm: 1 }).counts).toStrictEqual({ firm: 1, a: 2, b: 2, c: 0 });
  });

  it("are on no spot while there are fewer than three pools of it", () => {
    const spot = (id: string) => aPool(id, { isFirm: false, priceMicroUsd: 1 });
    const pools = [aPool("firm", { priceMicroUsd: 9 }), spot("a"), spot("b")];
    expect(counts(pools, 5).counts).toStrictEqual({ firm: 5, a: 0, b: 0 });
    const useless = aPool("c", { isFirm: false, priceMicroUsd: 1, replicasMax: 0 });
    expect(counts([...pools, useless], 5).counts).toMatchObject({ firm: 5, a: 0, b: 0 });
    const short = { ...spot("c"), isShort: true };
    expect(counts([...pools, short], 5).counts).toStrictEqual({ firm: 1, a: 2, b: 2, c: 0 });
  });

  it("are spread so that enough firm ones are left without the largest zone, at whatever price", () => {
    const zoned = (id: string, fields: Partial<AssignablePool> = {}) =>
      aPool(id, { zones: [id], ...fields });
    const [a, b, c] = [zoned("a", { priceMicroUsd: 1 }), zoned("b"), zoned("c")];
    expect(counts([a, b], 8, { firm: 8, left: 4 }).counts).toStrictEqual({ a: 4, b: 4 });
    expect(counts([a, b, c], 8, { firm: 8, left: 4 }).counts).toStrictEqual({ a: 4, b: 2, c: 2 });
    // No more than the plan lets be there, and nothing where it would not help.
    expect(counts([a, b], 3, { firm: 3, left: 4 }).counts).toStrictEqual({ a: 2, b: 1 });
    const full = zoned("b", { replicasMax: 1 });
    expect(counts([a, full], 6, { firm: 6, left: 4 }).counts).toStrictEqual({ a: 5, b: 1 });
    // What no pool has counts where it is.
    expect(counts([a, b], 4, { firm: 4, left: 4, fixed: { b: 4 } }).counts).toStrictEqual({
      a: 4,
      b: 0,
    });
  });

  it("go only as far as enough are left without the largest zone", () => {
    const a = aPool("a", { there: 4, priceMicroUsd: 1 });
    const b = aPool("b", { zones: ["b"], there: 4, priceMicroUsd: 9 });
    const shrink = { mayShrink: true, firm: 2 };
    expect(counts([a, b], 4, { ...shrink, left: 3 }).counts).toStrictEqual({ a: 3, b: 3 });
    expect(counts([a, b], 4, shrink).counts).toStrictEqual({ a: 4, b: 0 });
    // Of what is too few already, the larger zone may still lose.
    const little = { ...b, there: 1 };
    expect(counts([a, little], 3, { ...shrink, left: 3 }).counts).toStrictEqual({ a: 2, b: 1 });
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
      zones: fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 4 }),
    });
    const wanted = fc.record({
      total: fc.nat(30),
      firm: fc.nat(30),
      left: fc.nat(20),
      fixed: fc.dictionary(fc.constantFrom("a", "b", "c"), fc.nat(4)),
      mayShrink: fc.boolean(),
    });
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
