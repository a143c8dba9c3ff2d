import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { ReserveInput, SettleInput, TenantLedgerRpc } from "#shared/budget/rpc.ts";
import type { Limits } from "#shared/config/limits.ts";
import type { Jurisdiction, TenantId } from "#shared/residency/brands.ts";
import { aReservationUnder } from "#test/support/ledger-builders.ts";

type Stub = DurableObjectStub & TenantLedgerRpc;

function aStub(name: string): Stub {
  return env.TENANT_LEDGER.getByName(name) as unknown as Stub;
}

function ask(
  stub: Stub,
  reservationId: string,
  limits: Limits,
  overrides: Partial<ReserveInput> & { readonly key?: Limits } = {},
) {
  const expiresAtMs = Date.now() + 600_000;
  return stub.reserve(aReservationUnder(limits, { reservationId, expiresAtMs, ...overrides }));
}

function settle(stub: Stub, reservationId: string, used: SettleInput["used"]) {
  const owner = { tenant: "acme" as TenantId, jurisdiction: "eu" as Jurisdiction };
  return stub.settle({ ...owner, reservationId, used });
}

/** Rows of a table of the object. */
function rowsOf(stub: Stub, table: string): Promise<number> {
  return runInDurableObject(stub, (_, state) => {
    const rows = state.storage.sql.exec<{ count: number }>(
      `SELECT count(*) AS count FROM ${table}`,
    );
    return rows.one().count;
  });
}

describe.each([
  { title: "kept in memory", between: async (_: Stub) => undefined },
  { title: "evicted between the steps", between: async (stub: Stub) => evictDurableObject(stub) },
])("a tenant's ledger $title", ({ title, between }) => {
  it.each<{ readonly limits: Limits; readonly admitted: number }>([
    { limits: { concurrentRequestsMax: 7 }, admitted: 7 },
    { limits: { requestsPerMinute: 7 }, admitted: 7 },
    { limits: { tokensPerMinute: 799 }, admitted: 7 },
    { limits: { budgetMicroUsdPerDay: 79 }, admitted: 7 },
    { limits: { budgetMicroUsdPerMonth: 70 }, admitted: 7 },
    { limits: { requestsPerSecond: 1, requestsBurstMax: 7 }, admitted: 7 },
  ])("never admits more than $limits, of its own and of a key", async ({ limits, admitted }) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2026, 10, 21, 12) });
    try {
      for (const [scope, own, key] of [
        ["tenant", limits, {}],
        ["key", {}, limits],
      ] as const) {
        const stub = aStub(`${title} ${scope} ${JSON.stringify(limits)}`);
        const first = await Promise.all(
          Array.from({ length: 5 }, (_, n) => ask(stub, `a${n}`, own, { key })),
        );
        await between(stub);
        const second = await Promise.all(
          Array.from({ length: 95 }, (_, n) => ask(stub, `b${n}`, own, { key })),
        );
        const count = [...first, ...second].filter(({ kind }) => kind === "reserved").length;
        expect(count).toBe(admitted);
        await between(stub);
        expect((await ask(stub, "late", own, { key })).kind).toBe("refused");
      }
    } finally {
      vi.useRealTimers();
    }
  });

  it("admits again after a settlement, once", async () => {
    const stub = aStub(`settle ${title}`);
    const limits = { concurrentRequestsMax: 1 };
    await ask(stub, "a", limits);
    await between(stub);
    expect(await settle(stub, "a", { tokens: 1, costMicroUsd: 1 })).toEqual({ kind: "settled" });
    await between(stub);
    expect(await settle(stub, "a", { tokens: 1, costMicroUsd: 1 })).toEqual({ kind: "unknown" });
    expect((await ask(stub, "b", limits)).kind).toBe("reserved");
    expect((await ask(stub, "c", limits)).kind).toBe("refused");
  });

  it("takes a repeated reservation as the same one, also once it is settled", async () => {
    const stub = aStub(`repeat ${title}`);
    const limits = { requestsPerMinute: 1 };
    expect((await ask(stub, "a", limits)).kind).toBe("reserved");
    await between(stub);
    expect((await ask(stub, "a", limits)).kind).toBe("reserved");
    await settle(stub, "a", "unknown");
    await between(stub);
    expect((await ask(stub, "a", limits)).kind).toBe("reserved");
    expect((await ask(stub, "b", limits)).kind).toBe("refused");
    expect(await rowsOf(stub, "reservations")).toBe(0);
  });

  it("charges in full what nobody settled in time, at the next call", async () => {
    const stub = aStub(`expire ${title}`);
    const limits = { budgetMicroUsdPerDay: 15 };
    await ask(stub, "a", limits, { expiresAtMs: Date.now() - 1 });
    await between(stub);
    expect(await ask(stub, "b", limits)).toMatchObject({
      kind: "refused",
      error: { code: "insufficient_quota" },
    });
    expect(await rowsOf(stub, "reservations")).toBe(0);
  });

  it("charges in full what nobody settled in time, when nobody calls either", async () => {
    const stub = aStub(`alarm ${title}`);
    await ask(stub, "a", { concurrentRequestsMax: 1 }, { expiresAtMs: Date.now() + 500 });
    await ask(stub, "b", { concurrentRequestsMax: 2 }, { expiresAtMs: Date.now() + 900_000 });
    await between(stub);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1_000 });
    try {
      await runDurableObjectAlarm(stub);
      expect(await rowsOf(stub, "reservations")).toBe(1);
      const nextMs = await runInDurableObject(stub, (_, state) => state.storage.getAlarm());
      expect(nextMs).toBeGreaterThan(Date.now() + 800_000);
    } finally {
      vi.useRealTimers();
    }
  });

  it("gives nothing back of a burst that it has forgotten", async () => {
    const stub = aStub(`burst ${title}`);
    const key = { requestsPerSecond: 1, requestsBurstMax: 100 };
    let admitted = 0;
    for (let round = 0; round < 4; round += 1) {
      const asked = Array.from({ length: 30 }, (_, n) => ask(stub, `${round}.${n}`, {}, { key }));
      admitted += (await Promise.all(asked)).filter(({ kind }) => kind === "reserved").length;
      await between(stub);
    }
    expect(admitted).toBeLessThanOrEqual(101);
    expect(admitted).toBeGreaterThan(70);
    expect(await rowsOf(stub, "reservations")).toBe(0);
  });
});

it("takes over what version 1 kept: money, the last minute, open reservations", async () => {
  const stub = aStub("version 1");
  await runInDurableObject(stub, (_, state) => {
    const { sql } = state.storage;
    sql.exec("CREATE TABLE ledger (key TEXT PRIMARY KEY, value TEXT NOT NULL)");
    const day = new Date().toISOString().slice(0, 10);
    const v1 = {
      v: 1,
      seconds: [{ second: 1, requests: 3, tokens: 30 }],
      ...{ day, dayMicroUsd: 60, month: day.slice(0, 7), monthMicroUsd: 60 },
    };
    sql.exec("INSERT INTO ledger VALUES ('state', ?)", JSON.stringify(v1));
    const old = { id: "old", second: 1, tokens: 10, costMicroUsd: 20, expiresAtMs: Date.now() * 2 };
    sql.exec("INSERT INTO reservations VALUES ('old', ?)", JSON.stringify(old));
  });
  await evictDurableObject(stub);
  const limits = { budgetMicroUsdPerMonth: 89, requestsPerMinute: 5, concurrentRequestsMax: 9 };
  expect((await ask(stub, "a", limits)).kind).toBe("refused");
  await settle(stub, "old", { tokens: 10, costMicroUsd: 19 });
  expect((await ask(stub, "b", limits)).kind).toBe("reserved");
  expect((await ask(stub, "c", limits)).kind).toBe("refused");
});
