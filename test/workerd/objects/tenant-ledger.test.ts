import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { ReserveInput, TenantLedgerRpc } from "#shared/budget/rpc.ts";
import type { Jurisdiction, TenantId } from "#shared/residency/brands.ts";

type Stub = DurableObjectStub & TenantLedgerRpc;

function aStub(name: string): Stub {
  return env.TENANT_LEDGER.getByName(name) as unknown as Stub;
}

function aRequest(
  reservationId: string,
  limits: ReserveInput["limits"],
  overrides: Partial<ReserveInput> = {},
): ReserveInput {
  return {
    tenant: "acme" as TenantId,
    jurisdiction: "eu" as Jurisdiction,
    reservationId,
    tokens: 10,
    costMicroUsd: 5,
    limits,
    expiresAtMs: Date.now() + 600_000,
    ...overrides,
  };
}

const identity = { tenant: "acme" as TenantId, jurisdiction: "eu" as Jurisdiction };

describe.each([
  { title: "kept in memory", between: async (_: Stub) => undefined },
  { title: "evicted between the steps", between: async (stub: Stub) => evictDurableObject(stub) },
])("a tenant's ledger $title", ({ title, between }) => {
  it("never admits more at once than the limit says", async () => {
    const stub = aStub(`concurrent ${title}`);
    const limits = { concurrentRequestsMax: 7 };
    const requests = Array.from({ length: 100 }, (_, n) => stub.reserve(aRequest(`r${n}`, limits)));
    const admitted = (await Promise.all(requests)).filter((result) => result.kind === "reserved");
    expect(admitted).toHaveLength(7);
    await between(stub);
    expect((await stub.reserve(aRequest("late", limits))).kind).toBe("refused");
  });

  it("admits again after a settlement, once", async () => {
    const stub = aStub(`settle ${title}`);
    const limits = { concurrentRequestsMax: 1 };
    await stub.reserve(aRequest("a", limits));
    await between(stub);
    expect(
      await stub.settle({ ...identity, reservationId: "a", tokens: 1, costMicroUsd: 1 }),
    ).toEqual({ kind: "settled" });
    expect(
      await stub.settle({ ...identity, reservationId: "a", tokens: 1, costMicroUsd: 1 }),
    ).toEqual({ kind: "unknown" });
    expect((await stub.reserve(aRequest("b", limits))).kind).toBe("reserved");
  });

  it("takes a repeated reservation as the same one", async () => {
    const stub = aStub(`repeat ${title}`);
    const limits = { requestsPerMinute: 1 };
    expect((await stub.reserve(aRequest("a", limits))).kind).toBe("reserved");
    await between(stub);
    expect((await stub.reserve(aRequest("a", limits))).kind).toBe("reserved");
    expect((await stub.reserve(aRequest("b", limits))).kind).toBe("refused");
  });

  it("charges in full what nobody settled in time", async () => {
    const stub = aStub(`expire ${title}`);
    const limits = { budgetMicroUsdPerDay: 8 };
    await stub.reserve(aRequest("a", limits, { expiresAtMs: Date.now() - 1 }));
    await between(stub);
    expect(await stub.reserve(aRequest("b", limits))).toMatchObject({
      kind: "refused",
      error: { code: "insufficient_quota" },
    });
  });
});
