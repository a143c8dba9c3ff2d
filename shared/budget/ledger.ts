import type { Limits } from "../config/limits.ts";
import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { LimitState, ReserveInput, ReserveResult, SettleInput } from "./rpc.ts";
import {
  admitScope,
  bucketRateOf,
  emptyScope,
  limitStates,
  settleScope,
  shortagesOf,
  viewScope,
} from "./scope.ts";
import type { Need, ScopeState, Shortage } from "./scope.ts";
import { viewBucket } from "./token-bucket.ts";

/** Open reservations of one tenant; past it nothing more that needs one is admitted. */
export const reservationsMax = 50_000;

/** The scopes that one request counts in: its tenant's and its key's. */
export interface LedgerScopes {
  readonly tenant: ScopeState;
  readonly key: ScopeState;
}

/** Scopes with nothing in them. */
export const emptyScopes: LedgerScopes = { tenant: emptyScope, key: emptyScope };

/** A reservation that is not settled yet. */
export interface Reservation extends Need {
  readonly id: string;
  readonly keyId: string;
  /** Where the rate windows have its tokens. */
  readonly slots: { readonly tenant: number; readonly key: number };
  readonly expiresAtMs: number;
}

/** Share of a wait that is added to it at random, and the most that is, ms: who was refused together comes back apart. */
const jitterShare = 0.25;
const jitterMsMax = 2_000;
const retryAfterMsMax = 60_000;

const scopeNames = ["tenant", "key"] as const;

function hasHeld(limits: Limits): boolean {
  const { requestsPerSecond: _, requestsBurstMax: __, ...held } = limits;
  return Object.values(held).some((limit) => limit !== undefined);
}

/** Whether a request under these limits holds something until it is settled; a burst is spent at once. */
export function isHeldUnder(limits: ReserveInput["limits"]): boolean {
  return scopeNames.some((name) => hasHeld(limits[name]));
}

/** How a refusal names a limit. */
const titles = {
  requests: "requests per minute",
  tokens: "tokens per minute",
  burst: "requests per second",
  concurrent: "concurrent requests",
  "budget-day": "money per day",
  "budget-month": "money per month",
} as const;

interface NamedShortage extends Shortage {
  readonly scope: "tenant" | "key";
}

/** The refusal: what no waiting cures first, else what takes longest. */
function refusalOf(shortages: readonly NamedShortage[], random: () => number): ErrorOutcome {
  const worst = shortages.reduce((left, right) =>
    (right.waitMs ?? Infinity) > (left.waitMs ?? Infinity) ? right : left,
  );
  const limit = `The ${worst.scope}'s limit of ${titles[worst.name]}`;
  if (worst.waitMs === null) {
    return {
      code: "insufficient_quota",
      message: worst.name.startsWith("budget")
        ? `${limit} has less left than the request may cost. Waiting a minute does not help.`
        : `${limit} is smaller than the request. Waiting does not help.`,
    };
  }
  const jitterMs = Math.min(jitterMsMax, worst.waitMs * jitterShare) * random();
  return {
    code: "rate_limited",
    message: `${limit} is reached. Wait, then send it again.`,
    retryAfterMs: Math.min(retryAfterMsMax, Math.ceil(worst.waitMs + jitterMs)),
  };
}

function statesOf(
  scopes: LedgerScopes,
  limits: ReserveInput["limits"],
  shortages: readonly NamedShortage[],
  nowMs: number,
): readonly LimitState[] {
  return scopeNames.flatMap((scope) =>
    limitStates(scopes[scope], limits[scope], nowMs).map((state) => {
      const short = shortages.find((each) => each.scope === scope && each.name === state.name);
      const resetMs = state.resetMs === null ? null : (short?.waitMs ?? state.resetMs);
      return { ...state, scope, resetMs };
    }),
  );
}

/** What became of a request for a reservation. `reservation` is null when nothing has to be settled. */
export interface ReserveStep {
  readonly scopes: LedgerScopes;
  readonly reservation: Reservation | null;
  readonly result: ReserveResult;
}

/**
 * Admits a request in both scopes, or refuses it and takes nothing. Rates count the last 60 seconds exactly; budgets
 * count what is spent plus what is reserved: nothing ever overshoots what was reserved.
 */
export function reserve(
  held: LedgerScopes,
  input: ReserveInput,
  nowMs: number,
  random: () => number,
): ReserveStep {
  const { limits, reservationId: id, keyId, tokens, costMicroUsd, expiresAtMs } = input;
  const need = { tokens, costMicroUsd };
  const isHeld = isHeldUnder(limits);
  const scopes = {
    tenant: viewScope(held.tenant, limits.tenant, nowMs),
    key: viewScope(held.key, limits.key, nowMs),
  };
  const shortages: NamedShortage[] = scopeNames.flatMap((scope) =>
    shortagesOf(scopes[scope], limits[scope], need, nowMs).map((each) => ({ ...each, scope })),
  );
  if (isHeld && scopes.tenant.openCount >= reservationsMax) {
    shortages.push({ name: "concurrent", scope: "tenant", waitMs: 1_000 });
  }
  if (shortages.length > 0) {
    const states = statesOf(scopes, limits, shortages, nowMs);
    const error = refusalOf(shortages, random);
    return { scopes, reservation: null, result: { kind: "refused", error, states } };
  }
  const tenant = admitScope(scopes.tenant, limits.tenant, need, isHeld, nowMs);
  const key = admitScope(scopes.key, limits.key, need, isHeld, nowMs);
  const admitted = { tenant: tenant.scope, key: key.scope };
  const slots = { tenant: tenant.slot, key: key.slot };
  return {
    scopes: admitted,
    reservation: isHeld ? { id, keyId, ...need, slots, expiresAtMs } : null,
    result: { kind: "reserved", isHeld, states: statesOf(admitted, limits, [], nowMs) },
  };
}

/** Replaces a reservation by what was used; the tokens count when they were admitted, the money now. Once per reservation. */
export function settle(
  scopes: LedgerScopes,
  reservation: Reservation,
  used: SettleInput["used"],
  nowMs: number,
): LedgerScopes {
  const { slots } = reservation;
  const charged = used === "unknown" ? reservation : used;
  return {
    tenant: settleScope(scopes.tenant, slots.tenant, reservation, charged, nowMs),
    key: settleScope(scopes.key, slots.key, reservation, charged, nowMs),
  };
}

/** Requests that a bucket's durable state lies ahead of what was admitted: 64, or a sixteenth of a small burst. */
const aheadRequestsMax = 64;

/**
 * What has to be durable of a key's bucket so that a crash gives nothing back: null when `durable` is low enough, else a
 * state that stays low enough for many requests to come. So a request under a rate alone writes a row once in 64 times,
 * and an object that lost its memory has at most 64 requests too few, for less than a second at the default rate.
 */
export function bucketToWrite(
  durable: ScopeState,
  current: ScopeState,
  limits: Limits,
  nowMs: number,
): ScopeState | null {
  const rate = bucketRateOf(limits);
  if (rate === null || current.bucket === null) return null;
  const kept = viewBucket(durable.bucket, rate, nowMs);
  if (kept.milliRequests <= current.bucket.milliRequests) return null;
  const ahead = Math.min(aheadRequestsMax, Math.floor(rate.requestsBurstMax / 16));
  const milliRequests = Math.max(0, current.bucket.milliRequests - ahead * 1000);
  return { ...current, bucket: { ...current.bucket, milliRequests } };
}
