import fc from "fast-check";
import { describe, it } from "vitest";
import { waterLevel } from "#shared/admission/water-level.ts";
import { priorities } from "#shared/config/topology.ts";
import { runAdmission, runTokensPerSecond } from "#test/support/admission-run.ts";
import type { ClassDemand, ClassOutcome } from "#test/support/admission-run.ts";

/** After the first seconds, in which slots are filled and means are made. */
const span = { fromMs: 15_000, untilMs: 40_000 };

/** A tenant's demand, as shares of what can be done, by class. */
function demandsOf(
  tenant: string,
  shares: readonly number[],
  costTokens = 400,
): readonly ClassDemand[] {
  return priorities.flatMap((priority, index) => {
    const share = shares[index] ?? 0;
    if (share === 0) return [];
    return [{ tenant, priority, tokensPerSecond: share * runTokensPerSecond, costTokens }];
  });
}

/** 1 when all get the same, 1/n when one gets all (Jain, Chiu and Hawe 1984). */
function jain(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return (sum * sum) / (values.length * squares);
}

const weights = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 4, maxLength: 4 });
/** A mix of classes that adds up to `total`. */
function mixOf(total: number, parts: readonly number[]): readonly number[] {
  const sum = parts.reduce((all, part) => all + part, 0);
  return sum === 0 ? [0, 0, total, 0] : parts.map((part) => (total * part) / sum);
}

/** What others ask for together: half of what batch, the class with the lowest ceiling, may fill. */
const othersShare = 0.27;
const others = fc.array(weights, { minLength: 1, maxLength: 5 });
const turnTokens = fc.integer({ min: 100, max: 900 });

describe("fairness across classes", () => {
  it("serves what others ask for within their shares, whatever classes a flood of a hundred times a share is of", ({
    expect,
  }) => {
    fc.assert(
      fc.property(others, weights, turnTokens, (mixes, floodMix, costTokens) => {
        const demands = [
          ...mixes.flatMap((mix, index) =>
            demandsOf(`t${index}`, mixOf(othersShare / mixes.length, mix)),
          ),
          // A hundred times a tenth of what can be done.
          ...demandsOf("flood", mixOf(10, floodMix), costTokens),
        ];
        const { busy, outcomeOf } = runAdmission(demands, span);
        for (const index of mixes.keys()) {
          for (const priority of ["critical", "interactive", "standard"] as const) {
            const { longestMs, refused } = outcomeOf(`t${index}`, priority);
            expect(refused).toBeLessThanOrEqual(1);
            expect(longestMs).toBeLessThan(6_000);
          }
        }
        // Its ceiling keeps it out for seconds while more important work fills more of the shards.
        const batch = mixes.map((_, index) => outcomeOf(`t${index}`, "batch"));
        const sum = (of: (one: ClassOutcome) => number): number =>
          batch.reduce((total, one) => total + of(one), 0);
        expect(sum(({ refused }) => refused)).toBeLessThanOrEqual(
          2 + 0.35 * sum(({ asked }) => asked),
        );
        // Nothing is left idle for it, but for the class ceilings.
        expect(busy).toBeGreaterThan(0.5);
      }),
      { numRuns: 25 },
    );
  });

  it("lets one tenant alone use everything, whatever it asks for", ({ expect }) => {
    for (const [index, priority] of priorities.entries()) {
      const shares = [0, 0, 0, 0].with(index, 5);
      const { busy } = runAdmission(demandsOf("alone", shares), span);
      // The class ceilings, for those that might come.
      const ceiling = { critical: 1, interactive: 0.9, standard: 0.75, batch: 0.75 }[priority];
      expect(busy).toBeGreaterThan(ceiling - 0.05);
    }
  });

  it("gives tenants that all flood in different classes no more than their caps", ({ expect }) => {
    const { outcomeOf } = runAdmission(
      [
        ...demandsOf("critical", [5, 0, 0, 0]),
        ...demandsOf("standard", [0, 0, 5, 0]),
        ...demandsOf("interactive", [0, 5, 0, 0]),
      ],
      span,
    );
    const served = ["critical", "interactive", "standard"].map(
      (tenant) => outcomeOf(tenant).served,
    );
    expect(jain(served)).toBeGreaterThan(0.95);
  });

  it("shares the same whatever the tenants' names and order", ({ expect }) => {
    const mixes = [
      [0.1, 0, 0.3, 0],
      [0, 0.2, 0, 0.2],
      [0, 3, 0, 0],
      [0.05, 0.1, 0.1, 0.1],
    ];
    const servedBy = (order: readonly number[]): readonly number[] => {
      const demands = order.flatMap((index) =>
        demandsOf(`x${(index * 7) % 5}`, mixes[index] ?? []),
      );
      const { outcomeOf } = runAdmission(demands, span);
      return mixes.map((_, index) => outcomeOf(`x${(index * 7) % 5}`).served);
    };
    const straight = servedBy([0, 1, 2, 3]);
    for (const [index, served] of servedBy([3, 1, 2, 0]).entries()) {
      const wanted = straight[index] ?? 0;
      expect(Math.abs(served - wanted)).toBeLessThan(0.1 * wanted + 10);
    }
  });

  it("starves no flood: it has what the others leave", ({ expect }) => {
    const totals = [0.2, 0.2, 10];
    const level = waterLevel(totals, 1);
    const { outcomeOf } = runAdmission(
      [
        ...demandsOf("a", [0, 0, 0.2, 0]),
        ...demandsOf("b", [0, 0.2, 0, 0]),
        ...demandsOf("flood", [0, 0, 10, 0]),
      ],
      span,
    );
    const seconds = (span.untilMs - span.fromMs) / 1_000;
    const rate = (400 * outcomeOf("flood").served) / seconds / runTokensPerSecond;
    // Standard fills three quarters of the slots.
    expect(rate).toBeGreaterThan(0.5 * level);
    expect(rate).toBeLessThan(1.1 * level);
  });
});
