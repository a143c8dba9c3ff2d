import { describe, expect, it } from "vitest";
import { bucketToWrite, emptyScopes, reserve, settle } from "#shared/budget/ledger.ts";
import type { LedgerScopes, Reservation, ReserveStep } from "#shared/budget/ledger.ts";
import type { ReserveInput } from "#shared/budget/rpc.ts";
import { emptyScope } from "#shared/budget/scope.ts";
import { aReservationUnder, noonMs } from "#test/support/ledger-builders.ts";

const noJitter = (): number => 0;

function ask(scopes: LedgerScopes, input: ReserveInput, nowMs = noonMs): ReserveStep {
  return reserve(scopes, input, nowMs, noJitter);
}

function reservationOf({ reservation }: ReserveStep): Reservation {
  if (reservation === null) throw new Error("nothing is held");
  return reservation;
}

const codeOf = ({ result }: ReserveStep): string =>
  result.kind === "refused" ? result.error.code : result.kind;

describe("a request without limits", () => {
  it("is admitted and holds nothing", () => {
    const step = ask(emptyScopes, aReservationUnder({}));
    expect(step).toMatchObject({ reservation: null, result: { kind: "reserved", isHeld: false } });
    expect(step.scopes.tenant).toMatchObject({ window: { slots: [] }, bucket: null, openCount: 0 });
  });
});

describe("requests per minute", () => {
  const limits = { requestsPerMinute: 1 };

  it("are refused with the time to wait, to the millisecond, and admitted then", () => {
    const { scopes } = ask(emptyScopes, aReservationUnder(limits), noonMs + 999);
    const refused = ask(scopes, aReservationUnder(limits), noonMs + 10_000);
    expect(refused.result).toMatchObject({
      error: { code: "rate_limited", retryAfterMs: 50_999 },
    });
    expect(codeOf(ask(scopes, aReservationUnder(limits), noonMs + 60_998))).toBe("rate_limited");
    expect(codeOf(ask(scopes, aReservationUnder(limits), noonMs + 60_999))).toBe("reserved");
  });

  it("take nothing when they are refused by another limit", () => {
    const input = aReservationUnder({ requestsPerMinute: 2, tokensPerMinute: 150 });
    const first = ask(emptyScopes, input);
    const refused = ask(first.scopes, input);
    expect(codeOf(refused)).toBe("rate_limited");
    expect(refused.scopes).toEqual(first.scopes);
  });

  it("spread the times at which clients that were refused together come back, within 60 s", () => {
    const { scopes } = ask(emptyScopes, aReservationUnder(limits), noonMs);
    const waitOf = (atMs: number, random: number): number | undefined => {
      const { result } = reserve(scopes, aReservationUnder(limits), atMs, () => random);
      return result.kind === "refused" ? result.error.retryAfterMs : undefined;
    };
    expect(waitOf(noonMs + 56_000, 0.5)).toBe(4_500);
    expect(waitOf(noonMs + 30_000, 0.5)).toBe(31_000);
    expect(waitOf(noonMs, 0.99)).toBe(60_000);
  });
});

describe("tokens per minute", () => {
  it("refuse for good a request that is larger than the limit", () => {
    expect(codeOf(ask(emptyScopes, aReservationUnder({ tokensPerMinute: 99 })))).toBe(
      "insufficient_quota",
    );
    expect(codeOf(ask(emptyScopes, aReservationUnder({ tokensPerMinute: 100 })))).toBe("reserved");
  });

  it("count what was used instead of what was reserved, once settled", () => {
    const input = aReservationUnder({ tokensPerMinute: 150 });
    const step = ask(emptyScopes, input);
    expect(codeOf(ask(step.scopes, input))).toBe("rate_limited");
    const used = { tokens: 20, costMicroUsd: 1 };
    const after = settle(step.scopes, reservationOf(step), used, noonMs + 1_000);
    expect(codeOf(ask(after, input, noonMs + 1_000))).toBe("reserved");
  });

  it("make later requests wait for what was used beyond the reservation", () => {
    const input = aReservationUnder({ tokensPerMinute: 200 });
    const step = ask(emptyScopes, input);
    const used = { tokens: 150, costMicroUsd: 1 };
    const after = settle(step.scopes, reservationOf(step), used, noonMs + 1_000);
    expect(codeOf(ask(after, input, noonMs + 2_000))).toBe("rate_limited");
  });

  it("are not corrected in a slot of others when the clock went back between", () => {
    const input = aReservationUnder({ tokensPerMinute: 1_000 });
    const first = ask(emptyScopes, input, noonMs + 30_000);
    const second = ask(first.scopes, aReservationUnder({ tokensPerMinute: 1_000 }), noonMs);
    const none = { tokens: 0, costMicroUsd: 0 };
    const after = settle(second.scopes, reservationOf(first), none, noonMs + 1);
    const slots = after.tenant.window.slots.map(({ tokens }) => tokens);
    expect(slots).toEqual([100]);
  });
});

describe("a burst", () => {
  const limits = { requestsPerSecond: 2, requestsBurstMax: 3 };

  it("is admitted at once, and then the rate", () => {
    let scopes = emptyScopes;
    const codes: string[] = [];
    for (const atMs of [0, 0, 0, 0, 499, 500, 500, 1_000]) {
      const step = ask(scopes, aReservationUnder({}, { key: limits }), noonMs + atMs);
      scopes = step.scopes;
      codes.push(codeOf(step));
    }
    const [yes, no] = ["reserved", "rate_limited"];
    expect(codes).toEqual([yes, yes, yes, no, no, yes, no, yes]);
  });

  it("says how long to wait for one request", () => {
    const key = { requestsPerSecond: 2, requestsBurstMax: 1 };
    const { scopes } = ask(emptyScopes, aReservationUnder({}, { key }));
    expect(ask(scopes, aReservationUnder({}, { key }), noonMs + 100).result).toMatchObject({
      error: { code: "rate_limited", retryAfterMs: 400 },
    });
  });

  it("needs a row once in many requests, and never one that a crash could profit from", () => {
    const key = { requestsPerSecond: 100, requestsBurstMax: 1_000 };
    let scopes = emptyScopes;
    let durable = emptyScope;
    let writes = 0;
    for (let request = 0; request < 1_000; request += 1) {
      ({ scopes } = ask(scopes, aReservationUnder({}, { key })));
      const row = bucketToWrite(durable, scopes.key, key, noonMs);
      if (row !== null) {
        durable = row;
        writes += 1;
      }
      expect(durable.bucket?.milliRequests).toBeLessThanOrEqual(
        scopes.key.bucket?.milliRequests ?? -1,
      );
    }
    expect(writes).toBe(16);
    expect(codeOf(ask(scopes, aReservationUnder({}, { key })))).toBe("rate_limited");
  });
});

describe("concurrent requests", () => {
  it("are counted from their reservation to its settlement", () => {
    const input = aReservationUnder({ concurrentRequestsMax: 1 });
    const step = ask(emptyScopes, input);
    expect(ask(step.scopes, input).result).toMatchObject({
      error: { code: "rate_limited", retryAfterMs: 1_000 },
    });
    const after = settle(step.scopes, reservationOf(step), "unknown", noonMs);
    expect(codeOf(ask(after, input))).toBe("reserved");
  });
});

describe("a budget", () => {
  const limits = { budgetMicroUsdPerDay: 15 };

  it("asks to wait while running requests hold it, and refuses for good once it is spent", () => {
    const input = aReservationUnder(limits);
    const step = ask(emptyScopes, input);
    expect(codeOf(ask(step.scopes, input))).toBe("rate_limited");
    const cheap = settle(step.scopes, reservationOf(step), { tokens: 1, costMicroUsd: 5 }, noonMs);
    expect(codeOf(ask(cheap, input))).toBe("reserved");
    const spent = settle(step.scopes, reservationOf(step), "unknown", noonMs);
    expect(codeOf(ask(spent, input))).toBe("insufficient_quota");
  });

  it("of a day begins anew at midnight UTC, one of a month with the month", () => {
    const input = aReservationUnder({ budgetMicroUsdPerDay: 15, budgetMicroUsdPerMonth: 25 });
    const spendOne = (scopes: LedgerScopes, atMs: number): LedgerScopes => {
      const step = ask(scopes, input, atMs);
      return settle(step.scopes, reservationOf(step), "unknown", atMs);
    };
    const twice = spendOne(spendOne(emptyScopes, noonMs), noonMs + 43_200_000);
    expect(codeOf(ask(twice, input, noonMs + 2 * 86_400_000))).toBe("insufficient_quota");
    expect(codeOf(ask(twice, input, Date.UTC(2026, 11, 1)))).toBe("reserved");
  });

  it("that is spent still lets a request pass that costs nothing", () => {
    const step = ask(emptyScopes, aReservationUnder(limits, { costMicroUsd: 15 }));
    const spent = settle(step.scopes, reservationOf(step), "unknown", noonMs);
    expect(codeOf(ask(spent, aReservationUnder(limits, { costMicroUsd: 0 })))).toBe("reserved");
  });
});

describe("limits of a key", () => {
  it("hold beside its tenant's, and bind other keys only through these", () => {
    const limits = { concurrentRequestsMax: 2 };
    const key = { concurrentRequestsMax: 1 };
    const first = ask(emptyScopes, aReservationUnder(limits, { key }));
    expect(ask(first.scopes, aReservationUnder(limits, { key })).result).toMatchObject({
      error: { message: expect.stringContaining("The key's limit of concurrent requests") },
    });
    const other = { ...first.scopes, key: emptyScope };
    const second = ask(other, aReservationUnder(limits, { key, keyId: "batch" }));
    expect(codeOf(second)).toBe("reserved");
    const third = { ...second.scopes, key: emptyScope };
    expect(ask(third, aReservationUnder(limits, { key, keyId: "third" })).result).toMatchObject({
      error: { message: expect.stringContaining("The tenant's limit of concurrent requests") },
    });
  });

  it("that no waiting cures decide over those that some does", () => {
    const limits = { concurrentRequestsMax: 1 };
    const step = ask(emptyScopes, aReservationUnder(limits));
    const key = { tokensPerMinute: 50 };
    expect(codeOf(ask(step.scopes, aReservationUnder(limits, { key })))).toBe("insufficient_quota");
  });
});
