import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bucketToWrite, emptyScopes, reserve, settle } from "#shared/budget/ledger.ts";
import type { LedgerScopes, Reservation } from "#shared/budget/ledger.ts";
import { emptyScope } from "#shared/budget/scope.ts";
import type { Limits } from "#shared/config/limits.ts";
import { aReservationUnder, noonMs } from "#test/support/ledger-builders.ts";

interface Admission {
  readonly atMs: number;
  readonly tokens: number;
}

/** One request, and what becomes of one open reservation afterwards. A negative `gapMs`: the clock goes back. */
interface Step {
  readonly gapMs: number;
  readonly tokens: number;
  readonly cost: number;
  readonly key: string;
  readonly settles: { readonly nth: number; readonly share: number } | null;
}

const steps = (gapMs: fc.Arbitrary<number>): fc.Arbitrary<Step[]> => {
  const settles = fc.record({ nth: fc.nat(), share: fc.float({ min: 0, max: 1, noNaN: true }) });
  const step = fc.record({
    gapMs,
    tokens: fc.integer({ min: 0, max: 60 }),
    cost: fc.integer({ min: 0, max: 60 }),
    key: fc.constantFrom("a", "b"),
    settles: fc.option(settles),
  });
  return fc.array(step, { minLength: 1, maxLength: 120, size: "max" });
};

/** Runs a ledger; `observe` sees every state. Each reservation is settled with at most what it reserved. */
function run(
  life: readonly Step[],
  tenant: Limits,
  key: Limits,
  observe: (world: {
    scopes: LedgerScopes;
    open: readonly Reservation[];
    spent: number;
  }) => void = () => undefined,
): Admission[] {
  const keys = new Map([
    ["a", emptyScope],
    ["b", emptyScope],
  ]);
  let ofTenant = emptyScope;
  let atMs = noonMs;
  let spent = 0;
  const open: Reservation[] = [];
  const admitted: Admission[] = [];
  for (const step of life) {
    atMs += step.gapMs;
    const input = aReservationUnder(tenant, {
      key,
      keyId: step.key,
      tokens: step.tokens,
      costMicroUsd: step.cost,
    });
    const held = { tenant: ofTenant, key: keys.get(step.key) ?? emptyScope };
    const { scopes, reservation, result } = reserve(held, input, atMs, () => 0);
    ofTenant = scopes.tenant;
    keys.set(step.key, scopes.key);
    if (result.kind === "reserved") admitted.push({ atMs, tokens: step.tokens });
    if (reservation !== null) open.push(reservation);
    if (step.settles !== null && open.length > 0) {
      const [ended] = open.splice(step.settles.nth % open.length, 1);
      if (ended !== undefined) {
        const costMicroUsd = Math.floor(ended.costMicroUsd * step.settles.share);
        const tokens = Math.floor(ended.tokens * step.settles.share);
        const before = { tenant: ofTenant, key: keys.get(ended.keyId) ?? emptyScope };
        const after = settle(before, ended, { tokens, costMicroUsd }, atMs);
        ofTenant = after.tenant;
        keys.set(ended.keyId, after.key);
        spent += costMicroUsd;
      }
    }
    observe({ scopes: { tenant: ofTenant, key: keys.get(step.key) ?? emptyScope }, open, spent });
  }
  return admitted;
}

/** The most that any window of `lengthMs` holds. */
function mostIn(admitted: readonly Admission[], lengthMs: number, of: keyof Admission | "count") {
  let most = 0;
  for (const { atMs: start } of admitted) {
    const inside = admitted.filter(({ atMs }) => atMs >= start && atMs < start + lengthMs);
    const sum = inside.reduce((all, each) => all + (of === "count" ? 1 : each[of]), 0);
    most = Math.max(most, sum);
  }
  return most;
}

const forward = fc.integer({ min: 0, max: 9_000 });
const anyway = fc.integer({ min: -90_000, max: 90_000 });

describe("in whatever order requests come and end", () => {
  it("no 60 s hold more requests than the limit", () => {
    fc.assert(
      fc.property(steps(forward), (life) => {
        const admitted = run(life, { requestsPerMinute: 5 }, {});
        expect(mostIn(admitted, 60_000, "count")).toBeLessThanOrEqual(5);
      }),
    );
  });

  it("no 60 s hold more reserved tokens than the limit, as long as none are given back", () => {
    fc.assert(
      fc.property(steps(forward), (life) => {
        const kept = life.map((step) => ({ ...step, settles: null }));
        const admitted = run(kept, { tokensPerMinute: 150 }, {});
        expect(mostIn(admitted, 60_000, "tokens")).toBeLessThanOrEqual(150);
      }),
    );
  });

  it("any time W holds at most burst + rate × W requests", () => {
    fc.assert(
      fc.property(steps(fc.integer({ min: 0, max: 700 })), (life) => {
        const admitted = run(life, { requestsPerSecond: 2, requestsBurstMax: 4 }, {});
        for (const lengthMs of [1, 500, 1_000, 3_000, 10_000]) {
          const most = mostIn(admitted, lengthMs, "count");
          expect(most).toBeLessThanOrEqual(4 + (2 * lengthMs) / 1_000);
        }
      }),
    );
  });

  it("never more run at once than the limit, and what is spent and reserved stays within the budget", () => {
    fc.assert(
      fc.property(steps(fc.integer({ min: 0, max: 100 })), (life) => {
        const limits = { concurrentRequestsMax: 3, budgetMicroUsdPerDay: 200 };
        run(life, limits, {}, ({ open, spent, scopes }) => {
          expect(open.length).toBeLessThanOrEqual(3);
          const reserved = open.reduce((sum, { costMicroUsd }) => sum + costMicroUsd, 0);
          expect(spent + reserved).toBeLessThanOrEqual(200);
          expect(scopes.tenant).toMatchObject({
            openCount: open.length,
            reservedMicroUsd: reserved,
          });
        });
      }),
    );
  });

  it("a key's limits hold for it alone", () => {
    fc.assert(
      fc.property(steps(fc.integer({ min: 0, max: 100 })), (life) => {
        run(life, {}, { concurrentRequestsMax: 2, budgetMicroUsdPerMonth: 100 }, ({ open }) => {
          for (const id of ["a", "b"]) {
            const own = open.filter(({ keyId }) => keyId === id);
            expect(own.length).toBeLessThanOrEqual(2);
          }
        });
      }),
    );
  });
});

describe("a clock that goes back", () => {
  it("gives nothing: without forward steps no more than one window's quota is admitted", () => {
    fc.assert(
      fc.property(steps(fc.integer({ min: -90_000, max: 0 })), (life) => {
        const kept = life.map((step) => ({ ...step, settles: null }));
        const limits = { requestsPerMinute: 5, requestsPerSecond: 50, requestsBurstMax: 8 };
        expect(run(kept, limits, {}).length).toBeLessThanOrEqual(5);
        const bucket = { requestsPerSecond: 50, requestsBurstMax: 8 };
        expect(run(kept, bucket, {}).length).toBeLessThanOrEqual(8);
      }),
    );
  });

  it("blocks nobody for longer than a window, and keeps the state small", () => {
    fc.assert(
      fc.property(steps(anyway), (life) => {
        let last = emptyScopes;
        run(life, { requestsPerMinute: 5 }, {}, ({ scopes }) => {
          last = scopes;
          expect(scopes.tenant.window.slots.length).toBeLessThanOrEqual(62);
        });
        const atMs = noonMs + life.reduce((sum, { gapMs }) => sum + gapMs, 0);
        const input = aReservationUnder({ requestsPerMinute: 5 });
        const { result } = reserve(last, input, atMs + 60_000, () => 0);
        expect(result.kind).toBe("reserved");
      }),
    );
  });

  it("over midnight gives no day's budget twice, and an error of a year blocks none for a year", () => {
    const limits = { budgetMicroUsdPerDay: 10 };
    const midnightMs = Date.UTC(2026, 10, 22);
    const spendAll = (scopes: LedgerScopes, atMs: number) => {
      const step = reserve(scopes, aReservationUnder(limits), atMs, () => 0);
      const { reservation } = step;
      const after =
        reservation === null ? step.scopes : settle(step.scopes, reservation, "unknown", atMs);
      return { scopes: after, kind: step.result.kind };
    };
    const saturday = spendAll(emptyScopes, midnightMs - 60_000);
    const sunday = spendAll(saturday.scopes, midnightMs + 1_000);
    const back = spendAll(sunday.scopes, midnightMs - 60_000);
    const again = spendAll(back.scopes, midnightMs + 60_000);
    expect([saturday, sunday, back, again].map(({ kind }) => kind)).toEqual([
      "reserved",
      "reserved",
      "refused",
      "refused",
    ]);
    const nextYear = spendAll(emptyScopes, Date.UTC(2027, 10, 22));
    const today = spendAll(nextYear.scopes, midnightMs);
    const tomorrow = spendAll(today.scopes, midnightMs + 86_400_000);
    expect([today.kind, tomorrow.kind]).toEqual(["refused", "reserved"]);
  });
});

describe("a bucket whose row is written ahead", () => {
  it("admits no more than burst + rate × W, wherever the object loses its memory", () => {
    const key = { requestsPerSecond: 10, requestsBurstMax: 64 };
    const event = fc.record({ gapMs: fc.integer({ min: 0, max: 30 }), crashes: fc.boolean() });
    fc.assert(
      fc.property(fc.array(event, { minLength: 150, maxLength: 300 }), (events) => {
        let scopes = emptyScopes;
        let durable = emptyScope;
        let atMs = noonMs;
        const admitted: Admission[] = [];
        for (const { gapMs, crashes } of events) {
          atMs += gapMs;
          if (crashes) scopes = { tenant: emptyScope, key: durable };
          const step = reserve(scopes, aReservationUnder({}, { key }), atMs, () => 0);
          scopes = step.scopes;
          if (step.result.kind === "refused") continue;
          admitted.push({ atMs, tokens: 0 });
          durable = bucketToWrite(durable, scopes.key, key, atMs) ?? durable;
        }
        for (const lengthMs of [1, 1_000, 20_000]) {
          const most = mostIn(admitted, lengthMs, "count");
          expect(most).toBeLessThanOrEqual(64 + (10 * lengthMs) / 1_000);
        }
      }),
    );
  });
});
