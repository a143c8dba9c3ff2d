import * as fc from "fast-check";
import { describe, it } from "vitest";
import { FairShares } from "#shared/admission/fair-shares.ts";
import { cohortRank } from "#shared/admission/shed-cohorts.ts";
import type { ShedSubject } from "#shared/admission/shed-cohorts.ts";
import { priorities } from "#shared/config/topology.ts";

function subject(user: string, changes: Partial<ShedSubject> = {}): ShedSubject {
  return { tenant: "t", user, priority: "standard", isLaterTurn: false, ...changes };
}

function lot(): () => number {
  let seed = 1;
  return () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
}

/** `count` arrivals of `tenant` in the second before now, each of `workTokens`. */
function arrivalsOf(
  tenant: string,
  count: number,
  changes: Partial<ShedSubject> = {},
): readonly ShedSubject[] {
  return Array.from({ length: count }, (_, index) => subject(`u${index}`, { tenant, ...changes }));
}

function sharesAfter(arrivals: readonly ShedSubject[], workTokens = 100): FairShares {
  const shares = new FairShares();
  for (const one of arrivals) shares.arrived(one, workTokens, 0);
  return shares;
}

/** Until the mean of the measurements is there. */
function settle(shares: FairShares, tokensPerSecond: number, nowMs = 0): void {
  for (let count = 0; count < 60; count += 1) shares.noteCapacity(tokensPerSecond, nowMs);
}

describe("a cohort", () => {
  it("is the same for a user for an hour, and another one in the next", ({ expect }) => {
    const ranks = [0, 1_000, 3_599_999].map((nowMs) => cohortRank(subject("u"), nowMs));
    expect(new Set(ranks).size).toBe(1);
    const users = Array.from({ length: 64 }, (_, index) => `u${index}`);
    const moved = users.filter(
      (user) => cohortRank(subject(user), 0) !== cohortRank(subject(user), 3_600_000),
    );
    expect(moved.length).toBeGreaterThan(48);
  });

  it("comes before all later turns", ({ expect }) => {
    const users = Array.from({ length: 200 }, (_, index) => `u${index}`);
    const first = users.map((user) => cohortRank(subject(user), 0));
    const later = users.map((user) => cohortRank(subject(user, { isLaterTurn: true }), 0));
    expect(Math.min(...first)).toBeGreaterThan(Math.max(...later));
    expect(Math.max(...first)).toBeLessThan(64);
  });
});

describe("who is shed", () => {
  it("is the share asked for, least important first, and critical never", ({ expect }) => {
    const arrivals = priorities.flatMap((priority) => arrivalsOf("t", 500, { priority }));
    const shares = sharesAfter(arrivals);
    const random = lot();
    const shedAt = (ratio: number) =>
      arrivals.filter((one) => shares.isShed(one, ratio, 0, random));
    expect(shedAt(0)).toEqual([]);
    const third = shedAt(0.35);
    expect(Math.abs(third.length / arrivals.length - 0.35)).toBeLessThan(0.02);
    expect(third.filter(({ priority }) => priority === "batch")).toHaveLength(500);
    expect(third.every(({ priority }) => priority === "batch" || priority === "standard")).toBe(
      true,
    );
    expect(shedAt(0.95).some(({ priority }) => priority === "critical")).toBe(false);
  });

  it("is the tenant at a hundred times its rate, and nobody beside it", ({ expect }) => {
    const flood = arrivalsOf("flood", 1_000);
    const others = ["a", "b", "c"].flatMap((tenant) => arrivalsOf(tenant, 10));
    const shares = sharesAfter([...others, ...flood]);
    const random = lot();
    expect(others.filter((one) => shares.isShed(one, 0.9, 0, random))).toEqual([]);
    const shed = flood.filter((one) => shares.isShed(one, 0.9, 0, random)).length;
    expect(Math.abs(shed - 0.9 * 1_030)).toBeLessThan(20);
  });

  it("is measured by work: few long prompts are as much as many short ones", ({ expect }) => {
    const shares = new FairShares();
    const long = arrivalsOf("long", 10);
    const short = arrivalsOf("short", 100);
    for (const one of long) shares.arrived(one, 10_000, 0);
    for (const one of short) shares.arrived(one, 100, 0);
    const random = lot();
    expect(short.some((one) => shares.isShed(one, 0.5, 0, random))).toBe(false);
    expect(long.some((one) => shares.isShed(one, 0.5, 0, random))).toBe(true);
  });

  it("is of one tenant its first turns, then one cohort after the other", ({ expect }) => {
    const later = arrivalsOf("t", 100, { isLaterTurn: true });
    const first = arrivalsOf("t", 100);
    const shares = sharesAfter([...later, ...first]);
    const random = lot();
    expect(later.some((one) => shares.isShed(one, 0.4, 0, random))).toBe(false);
    const shed = first.filter((one) => shares.isShed(one, 0.4, 0, random));
    const again = first.filter((one) => shares.isShed(one, 0.4, 0, random));
    const ranks = new Set(shed.map((one) => cohortRank(one, 0)));
    expect(again.filter((one) => !ranks.has(cohortRank(one, 0))).length).toBe(0);
  });

  it("is judged by the arrivals of the last ten seconds or so", ({ expect }) => {
    const shares = sharesAfter(arrivalsOf("flood", 100));
    const now = subject("u", { tenant: "now" });
    for (let count = 0; count < 10; count += 1) shares.arrived(now, 100, 60_000);
    expect(shares.isShed(now, 0.5, 60_000, () => 0)).toBe(true);
  });

  it("stays exact over hours", ({ expect }) => {
    const shares = new FairShares();
    for (let second = 0; second < 7_200; second += 1) {
      shares.arrived(subject("u", { tenant: "steady" }), 100, 1_000 * second);
    }
    const nowMs = 7_200_000;
    settle(shares, 50, nowMs);
    expect(shares.isWithin("steady", "standard", nowMs)).toBe(false);
    settle(shares, 120, nowMs);
    // All fit: nobody is in anybody's way.
    expect(shares.isWithin("steady", "standard", nowMs)).toBe(false);
    expect(shares.isWithin("other", "standard", nowMs)).toBe(false);
    settle(shares, 50, nowMs);
    expect(shares.isWithin("other", "standard", nowMs)).toBe(true);
  });

  it("is never a tenant within its share for one beyond it", ({ expect }) => {
    const rates = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(rates, fc.double({ min: 0.01, max: 0.95, noNaN: true }), (counts, ratio) => {
        const arrivals = counts.flatMap((count, index) => arrivalsOf(`t${index}`, count));
        const shares = sharesAfter(arrivals);
        const random = lot();
        const kept = counts.map(
          (_, index) =>
            arrivals.filter(
              (one) => one.tenant === `t${index}` && !shares.isShed(one, ratio, 0, random),
            ).length,
        );
        const total = counts.reduce((sum, count) => sum + count, 0);
        const fair = ((1 - ratio) * total) / counts.length;
        for (const [index, count] of counts.entries()) {
          if (count <= fair) expect(kept[index]).toBe(count);
        }
      }),
    );
  });
});

describe("a fair share of what can be done", () => {
  const modest = arrivalsOf("modest", 10);
  const greedy = arrivalsOf("greedy", 1_000);

  it("is kept by who asks for no more of it, and not by who does", ({ expect }) => {
    const shares = sharesAfter([...modest, ...greedy], 10);
    // 10 tokens per second of one and 1,000 of the other.
    settle(shares, 200);
    expect(shares.isWithin("modest", "standard", 0)).toBe(true);
    expect(shares.isWithin("greedy", "standard", 0)).toBe(false);
    settle(shares, 15);
    expect(shares.isWithin("modest", "standard", 0)).toBe(false);
  });

  it("is of what more important classes leave", ({ expect }) => {
    const above = arrivalsOf("above", 150, { priority: "interactive" });
    const shares = sharesAfter([...modest, ...greedy, ...above], 10);
    settle(shares, 200);
    expect(shares.isWithin("modest", "standard", 0)).toBe(true);
    settle(shares, 151);
    expect(shares.isWithin("modest", "standard", 0)).toBe(false);
  });

  it("is a mean: one poor measurement takes nothing from anybody", ({ expect }) => {
    const shares = sharesAfter([...modest, ...greedy], 10);
    settle(shares, 200);
    shares.noteCapacity(0, 0);
    expect(shares.isWithin("modest", "standard", 0)).toBe(true);
  });

  it("protects from the ratio, which swings about what is too much", ({ expect }) => {
    const shares = sharesAfter([...modest, ...greedy], 10);
    const random = lot();
    const shedOf = (): number =>
      modest.filter((one) => shares.isShed(one, 0.995, 0, random)).length;
    expect(shedOf()).toBeGreaterThan(0);
    settle(shares, 200);
    expect(shedOf()).toBe(0);
  });

  it("is nobody's while nothing is known of it, or all fit", ({ expect }) => {
    const shares = sharesAfter([...modest, ...greedy], 10);
    expect(shares.isWithin("modest", "standard", 0)).toBe(false);
    settle(shares, Infinity);
    expect(shares.isWithin("modest", "standard", 0)).toBe(false);
    settle(shares, 2_000);
    expect(shares.isWithin("modest", "standard", 0)).toBe(false);
  });
});
