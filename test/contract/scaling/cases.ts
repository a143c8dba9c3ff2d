import type { ExpectStatic } from "vitest";
import type { ScalingStore } from "#regional/ports/scaling-store.ts";

/** Far enough that only a hang reaches it. */
const patienceMs = 20_000;
const leaseMs = 60_000;
/** A lease that is over as soon as it is taken. */
const overMs = -1_000;

export interface ScalingCase {
  readonly name: string;
  run(store: ScalingStore, expect: ExpectStatic): Promise<void>;
}

function soon(): number {
  return Date.now() + patienceMs;
}

async function tokenOf(store: ScalingStore, holder: string, forMs = leaseMs): Promise<number> {
  const lease = await store.acquire(holder, forMs, soon());
  if (typeof lease === "string") throw new Error(lease);
  return lease.token;
}

function aPlan(token: number, plan = "{}") {
  return { model: "sim/llama", token, plan, state: '{"v":1}' };
}

/** What every store of the scalers must do; each case has a region of its own. */
export const scalingCases: readonly ScalingCase[] = [
  {
    name: "gives the lease to one of two",
    async run(store, expect) {
      expect(await tokenOf(store, "a")).toBe(1);
      expect(await store.acquire("b", leaseMs, soon())).toBe("held");
    },
  },
  {
    name: "gives the lease to exactly one of many that ask at once",
    async run(store, expect) {
      const holders = Array.from({ length: 8 }, (_, index) => `cell-${index}`);
      const answers = await Promise.all(
        holders.map((holder) => store.acquire(holder, leaseMs, soon())),
      );
      expect(answers.filter((answer) => answer !== "held")).toStrictEqual([{ token: 1 }]);
    },
  },
  {
    name: "renews the holder's lease under the same token",
    async run(store, expect) {
      await tokenOf(store, "a");
      expect(await tokenOf(store, "a")).toBe(1);
    },
  },
  {
    name: "gives a lease that is over to another, under a higher token",
    async run(store, expect) {
      await tokenOf(store, "a", overMs);
      expect(await tokenOf(store, "b")).toBe(2);
      expect(await store.acquire("a", leaseMs, soon())).toBe("held");
    },
  },
  {
    name: "gives a holder that comes too late a higher token",
    async run(store, expect) {
      await tokenOf(store, "a", overMs);
      expect(await tokenOf(store, "a")).toBe(2);
    },
  },
  {
    name: "gives a lease that was given up to another at once",
    async run(store, expect) {
      await tokenOf(store, "a");
      await store.release("a", soon());
      expect(await tokenOf(store, "b")).toBe(2);
    },
  },
  {
    name: "lets nobody give up the lease of another",
    async run(store, expect) {
      await tokenOf(store, "a");
      await store.release("b", soon());
      expect(await store.acquire("b", leaseMs, soon())).toBe("held");
    },
  },
  {
    name: "keeps the plan of the lease that holds, and replaces it",
    async run(store, expect) {
      const token = await tokenOf(store, "a");
      expect(await store.keepPlan(aPlan(token), soon())).toBe("written");
      expect(await store.keepPlan(aPlan(token, '{"n":2}'), soon())).toBe("written");
      const plans = await store.plans(soon());
      expect(plans).toMatchObject([{ model: "sim/llama", token, plan: '{"n":2}' }]);
      if (plans !== "unavailable") expect(plans[0]?.ageMs).toBeLessThan(patienceMs);
    },
  },
  {
    name: "refuses the plan of a lease that is over, also before another took it",
    async run(store, expect) {
      const token = await tokenOf(store, "a", overMs);
      expect(await store.keepPlan(aPlan(token), soon())).toBe("fenced");
      expect(await store.plans(soon())).toStrictEqual([]);
    },
  },
  {
    name: "refuses the plan of a leader that was replaced",
    async run(store, expect) {
      const first = await tokenOf(store, "a", overMs);
      const second = await tokenOf(store, "b");
      expect(await store.keepPlan(aPlan(second, '{"by":"b"}'), soon())).toBe("written");
      expect(await store.keepPlan(aPlan(first, '{"by":"a"}'), soon())).toBe("fenced");
      expect(await store.plans(soon())).toMatchObject([{ token: second, plan: '{"by":"b"}' }]);
    },
  },
  {
    name: "refuses a plan of a token that was never given",
    async run(store, expect) {
      const token = await tokenOf(store, "a");
      expect(await store.keepPlan(aPlan(token + 1), soon())).toBe("fenced");
    },
  },
  {
    name: "keeps the last report of each cell and model, and how old it is",
    async run(store, expect) {
      await store.report("c1", [{ model: "m", report: "1" }], soon());
      await store.report(
        "c2",
        [
          { model: "m", report: "2" },
          { model: "n", report: "3" },
        ],
        soon(),
      );
      await store.report("c1", [{ model: "m", report: "4" }], soon());
      const rows = await store.demand(soon());
      if (rows === "unavailable") throw new Error(rows);
      expect(
        rows.map(({ cell, model, report }) => `${cell} ${model} ${report}`).toSorted(),
      ).toEqual(["c1 m 4", "c2 m 2", "c2 n 3"]);
      expect(rows.every(({ ageMs }) => ageMs >= 0 && ageMs < patienceMs)).toBe(true);
    },
  },
  {
    name: "has nothing to write for a cell without models",
    async run(store, expect) {
      expect(await store.report("c1", [], soon())).toBe("written");
      expect(await store.demand(soon())).toStrictEqual([]);
    },
  },
];
