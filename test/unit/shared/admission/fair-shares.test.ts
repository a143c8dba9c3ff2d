import * as fc from "fast-check";
import { describe, it } from "vitest";
import { FairShares } from "#shared/admission/fair-shares.ts";
import { cohortRank } from "#shared/admission/shed-cohorts.ts";
import type { ShedSubject } from "#shared/admission/shed-cohorts.ts";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";

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
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const above = names.flatMap((tenant) => arrivalsOf(tenant, 25, { priority: "interactive" }));
    const shares = sharesAfter([...modest, ...greedy, ...above], 10);
    // 25 tokens per second each.
    settle(shares, 240);
    expect(shares.isWithin("modest", "standard", 0)).toBe(true);
    settle(shares, 200);
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

describe("who asks for more than its share of all classes", () => {
  const classes = (tenant: string, counts: readonly number[]): readonly ShedSubject[] =>
    priorities.flatMap((priority, index) => arrivalsOf(tenant, counts[index] ?? 0, { priority }));

  /** Shares of the subjects that are shed at a ratio, by tenant and class. */
  function shedOf(
    shares: FairShares,
    subjects: readonly ShedSubject[],
    ratio: number,
  ): (tenant: string, priority: Priority) => number {
    const random = lot();
    const shed = subjects.filter((one) => shares.isShed(one, ratio, 0, random));
    return (tenant, priority) => {
      const isOf = (one: ShedSubject): boolean =>
        one.tenant === tenant && one.priority === priority;
      return shed.filter(isOf).length / subjects.filter(isOf).length;
    };
  }

  it("is shed before the lower classes of others, whatever its own", ({ expect }) => {
    for (const priority of ["critical", "interactive", "standard", "batch"] as const) {
      const others = ["a", "b", "c"].flatMap((tenant) => classes(tenant, [5, 10, 20, 10]));
      const flood = arrivalsOf("flood", 4_000, { priority });
      const shares = sharesAfter([...others, ...flood]);
      // 1,350 tokens per second are asked for by the others together.
      settle(shares, 2_000);
      const shed = shedOf(shares, [...others, ...flood], 0.96);
      for (const tenant of ["a", "b", "c"]) {
        expect(priorities.map((one) => shed(tenant, one))).toEqual([0, 0, 0, 0]);
      }
      // It has the 650 that are left.
      expect(Math.abs(shed("flood", priority) - (1 - 65 / 4_000))).toBeLessThan(0.01);
    }
  });

  it("keeps of its own work the most important", ({ expect }) => {
    const others = ["a", "b", "c"].flatMap((tenant) => classes(tenant, [5, 10, 20, 10]));
    const flood = classes("flood", [40, 400, 400, 400]);
    const shares = sharesAfter([...others, ...flood]);
    settle(shares, 2_000);
    const shed = shedOf(shares, [...others, ...flood], 0.9);
    expect(shed("flood", "critical")).toBe(0);
    // 25 of its 400 beside the 40.
    expect(Math.abs(shed("flood", "interactive") - 375 / 400)).toBeLessThan(0.02);
    expect([shed("flood", "standard"), shed("flood", "batch")]).toEqual([1, 1]);
  });

  it("keeps its critical turns while nothing is known of the capacity, or it is alone", ({
    expect,
  }) => {
    const critical = arrivalsOf("flood", 1_000, { priority: "critical" });
    const shares = sharesAfter([...critical, ...arrivalsOf("other", 10)]);
    expect(shedOf(shares, critical, 0.9)("flood", "critical")).toBe(0);
    settle(shares, 1_000);
    expect(shedOf(shares, critical, 0.9)("flood", "critical")).toBeGreaterThan(0.8);
    const alone = sharesAfter(critical);
    settle(alone, 1_000);
    expect(shedOf(alone, critical, 0.9)("flood", "critical")).toBe(0);
  });

  it("leaves it to the classes up to a quarter of what can be done", ({ expect }) => {
    const many = Array.from({ length: 20 }, (_, index) => `t${index}`);
    const others = many.flatMap((tenant) => arrivalsOf(tenant, 10, { priority: "batch" }));
    const large = arrivalsOf("large", 45, { priority: "interactive" });
    const shares = sharesAfter([...others, ...large]);
    // Its fair share is 9.5 of 200 turns; it asks for 45.
    settle(shares, 2_000);
    const shed = shedOf(shares, [...others, ...large], 0.9);
    expect(shed("large", "interactive")).toBe(0);
    const ofOthers = many.map((tenant) => shed(tenant, "batch"));
    expect(Math.min(...ofOthers)).toBeGreaterThan(0);
  });

  it("does not decide by the order in which tenants came, nor by their names", ({ expect }) => {
    const demands = fc.array(
      fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 4, maxLength: 4 }),
      {
        minLength: 2,
        maxLength: 6,
      },
    );
    const capacities = fc.integer({ min: 10, max: 20_000 });
    fc.assert(
      fc.property(demands, capacities, fc.infiniteStream(fc.nat()), (counts, capacity, keys) => {
        const order = counts
          .map((_, index) => ({ index, key: keys.next().value }))
          .toSorted((left, right) => left.key - right.key);
        const kept = (indices: readonly number[], nameOf: (index: number) => string) => {
          const shares = sharesAfter(
            indices.flatMap((index) => classes(nameOf(index), counts[index] ?? [])),
          );
          settle(shares, capacity);
          return counts.map((_, index) =>
            priorities.map((priority) => shares.isWithin(nameOf(index), priority, 0)),
          );
        };
        const straight = kept(
          counts.map((_, index) => index),
          (index) => `t${index}`,
        );
        const shuffled = kept(
          order.map(({ index }) => index),
          (index) => `other-${7 * index}`,
        );
        expect(shuffled).toEqual(straight);
      }),
    );
  });
});

describe("who was served more than its share", () => {
  function served(work: Readonly<Record<string, readonly number[]>>): FairShares {
    const shares = new FairShares();
    for (const [tenant, tokens] of Object.entries(work)) {
      for (const [index, priority] of priorities.entries()) {
        const ofClass = tokens[index] ?? 0;
        if (ofClass > 0) shares.served(tenant, priority, ofClass, 0);
      }
    }
    return shares;
  }
  const over = (shares: FairShares, tenant: string) =>
    priorities.filter((priority) => shares.isOver(tenant, priority));

  it("stands behind with the classes in which it is above it, and those below", ({ expect }) => {
    const shares = served({ flood: [300, 500, 200, 0], a: [0, 0, 300, 0], b: [0, 0, 100, 0] });
    const asked = [
      ...arrivalsOf("flood", 10, { priority: "interactive" }),
      subject("u", { tenant: "a" }),
      subject("u", { tenant: "b" }),
    ];
    for (const one of asked) shares.arrived(one, 1_000, 0);
    shares.renew(0);
    // Of 1,400 that were served each of three may have a third, and all want more: 466 with 5 % of slack.
    expect(over(shares, "flood")).toEqual(["interactive", "standard", "batch"]);
    expect(over(shares, "a")).toEqual([]);
    expect(shares.hasOver()).toBe(true);
  });

  it("is nobody where all that is asked for was served, or as much of each", ({ expect }) => {
    const asked = [...arrivalsOf("a", 100), ...arrivalsOf("b", 10)];
    const all = served({ a: [0, 0, 10_000, 0], b: [0, 0, 1_000, 0] });
    for (const one of asked) all.arrived(one, 100, 0);
    all.renew(0);
    expect([all.hasOver(), all.asksTooMuch("a", "standard")]).toEqual([false, false]);
    const short = served({ a: [0, 0, 9_000, 0], b: [0, 0, 1_000, 0] });
    for (const one of asked) short.arrived(one, 100, 0);
    short.renew(0);
    expect([short.hasOver(), short.asksTooMuch("a", "standard")]).toEqual([false, true]);
    expect(short.asksTooMuch("b", "batch")).toBe(false);
  });

  it("has no share that others do not ask for: alone it may use everything", ({ expect }) => {
    const shares = served({ alone: [0, 50_000, 0, 0] });
    for (const one of arrivalsOf("alone", 1_000, { priority: "interactive" })) {
      shares.arrived(one, 1_000, 0);
    }
    shares.renew(0);
    expect(shares.hasOver()).toBe(false);
  });

  it("is forgotten with time, and looked for ten times a second", ({ expect }) => {
    const shares = served({ flood: [0, 5_000, 0, 0], a: [0, 0, 100, 0] });
    for (const one of arrivalsOf("flood", 100, { priority: "interactive" })) {
      shares.arrived(one, 1_000, 0);
    }
    for (const one of arrivalsOf("a", 10)) shares.arrived(one, 100, 0);
    shares.renew(0);
    expect(over(shares, "flood")).toEqual(["interactive", "standard", "batch"]);
    for (let second = 1; second <= 40; second += 1) {
      shares.served("a", "standard", 100, 1_000 * second);
      shares.arrived(subject("u", { tenant: "a" }), 100, 1_000 * second);
    }
    shares.renew(99);
    expect(over(shares, "flood")).not.toEqual([]);
    shares.renew(40_000);
    expect(over(shares, "flood")).toEqual([]);
  });
});
