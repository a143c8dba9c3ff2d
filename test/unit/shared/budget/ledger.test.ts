import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emptyLedger, reserve, settle, utcDay } from "#shared/budget/ledger.ts";
import type { LedgerState, Reservation } from "#shared/budget/ledger.ts";
import type { ReserveInput } from "#shared/budget/rpc.ts";
import type { Jurisdiction, TenantId } from "#shared/residency/brands.ts";

const nowMs = Date.UTC(2026, 10, 21, 12, 0, 0);

function aRequest(overrides: Partial<ReserveInput> = {}): ReserveInput {
  return {
    tenant: "acme" as TenantId,
    jurisdiction: "eu" as Jurisdiction,
    reservationId: "r1",
    tokens: 100,
    costMicroUsd: 10,
    limits: {},
    expiresAtMs: nowMs + 60_000,
    ...overrides,
  };
}

describe("a ledger", () => {
  it("admits everything when there are no limits", () => {
    expect(reserve(emptyLedger, [], aRequest(), nowMs).result).toMatchObject({ kind: "reserved" });
  });

  it("never admits more requests in any 60 seconds than the quota", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5_000 }), { maxLength: 200 }), (gaps) => {
        let state: LedgerState = emptyLedger;
        let at = nowMs;
        const admitted: number[] = [];
        for (const gap of gaps) {
          at += gap;
          const step = reserve(state, [], aRequest({ limits: { requestsPerMinute: 5 } }), at);
          state = step.state;
          if (step.reservation !== null) admitted.push(at);
        }
        for (const start of admitted) {
          const inWindow = admitted.filter((time) => time >= start && time < start + 60_000);
          expect(inWindow.length).toBeLessThanOrEqual(5);
        }
      }),
    );
  });

  it("tells how long to wait when the rate is reached, and admits then", () => {
    const limits = { requestsPerMinute: 1 };
    const { state } = reserve(emptyLedger, [], aRequest({ limits }), nowMs);
    const refused = reserve(state, [], aRequest({ limits }), nowMs + 10_000).result;
    expect(refused).toMatchObject({
      kind: "refused",
      error: { code: "rate_limited", retryAfterMs: 50_000 },
    });
    expect(reserve(state, [], aRequest({ limits }), nowMs + 60_000).result.kind).toBe("reserved");
  });

  it("says that waiting does not help when the request is larger than the quota", () => {
    const { result } = reserve(
      emptyLedger,
      [],
      aRequest({ tokens: 101, limits: { tokensPerMinute: 100 } }),
      nowMs,
    );
    expect(result).toMatchObject({ kind: "refused", error: { code: "insufficient_quota" } });
  });

  it("counts the tokens that were used, not those reserved, once settled", () => {
    const limits = { tokensPerMinute: 150 };
    const { state, reservation } = reserve(emptyLedger, [], aRequest({ limits }), nowMs);
    expect(reserve(state, [], aRequest({ limits }), nowMs).result.kind).toBe("refused");
    const after = settle(
      state,
      reservation as Reservation,
      { tokens: 20, costMicroUsd: 1 },
      nowMs + 1_000,
    );
    expect(reserve(after, [], aRequest({ limits }), nowMs + 1_000).result.kind).toBe("reserved");
  });

  it("refuses past the concurrent limit and past a budget", () => {
    const limits = { concurrentRequestsMax: 1, budgetMicroUsdPerDay: 15 };
    const { state, reservation } = reserve(emptyLedger, [], aRequest({ limits }), nowMs);
    const open = [reservation as Reservation];
    expect(reserve(state, open, aRequest({ limits }), nowMs).result).toMatchObject({
      error: { code: "rate_limited" },
    });
    const spent = settle(state, reservation as Reservation, { tokens: 1, costMicroUsd: 10 }, nowMs);
    expect(reserve(spent, [], aRequest({ limits }), nowMs).result).toMatchObject({
      error: { code: "insufficient_quota" },
    });
    const nextDay = nowMs + 86_400_000;
    expect(reserve(spent, [], aRequest({ limits }), nextDay).result.kind).toBe("reserved");
  });

  it("never overshoots a budget whatever the order of reservations and settlements", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ cost: fc.integer({ min: 1, max: 50 }), isSettled: fc.boolean() })),
        (steps) => {
          let state: LedgerState = emptyLedger;
          const open: Reservation[] = [];
          let settled = 0;
          for (const { cost, isSettled } of steps) {
            const step = reserve(
              state,
              open,
              aRequest({ costMicroUsd: cost, limits: { budgetMicroUsdPerDay: 100 } }),
              nowMs,
            );
            state = step.state;
            if (step.reservation !== null) open.push(step.reservation);
            const last = isSettled ? open.pop() : undefined;
            if (last !== undefined) {
              settled += last.costMicroUsd;
              state = settle(state, last, last, nowMs);
            }
            const reserved = open.reduce((sum, reservation) => sum + reservation.costMicroUsd, 0);
            expect(settled + reserved).toBeLessThanOrEqual(100);
          }
        },
      ),
    );
  });

  it("names the UTC day", () => {
    expect(utcDay(Date.UTC(2028, 1, 29, 23, 59, 59, 999))).toBe("2028-02-29");
  });
});
