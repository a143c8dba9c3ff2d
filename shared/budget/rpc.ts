import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { TenantLimits } from "../config/topology.ts";
import type { Jurisdiction, TenantId } from "../residency/brands.ts";

/** What a request will cost at most; tokens are prompt estimate plus the most that may be generated. */
export interface ReserveInput {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  /** Unique per request; a repeat with the same id gets the same answer and reserves once. */
  readonly reservationId: string;
  readonly tokens: number;
  readonly costMicroUsd: number;
  readonly limits: TenantLimits;
  /** When a reservation that nobody settles is released, ms since the epoch. */
  readonly expiresAtMs: number;
}

/** State of one limit, for the RateLimit headers. */
export interface LimitState {
  readonly name: "requests" | "tokens" | "concurrent" | "budget-day" | "budget-month";
  readonly quota: number;
  readonly windowSeconds: number;
  readonly remaining: number;
  readonly resetSeconds: number;
}

export type ReserveResult =
  | { readonly kind: "reserved"; readonly states: readonly LimitState[] }
  | {
      readonly kind: "refused";
      readonly error: ErrorOutcome;
      readonly states: readonly LimitState[];
    };

/** The RPC surface of a TenantLedger object: one per tenant and jurisdiction. Nothing about content. */
export interface TenantLedgerRpc {
  /** Reserves or refuses; zero overshoot, durable on return. */
  reserve(input: ReserveInput): Promise<ReserveResult>;
  /** Replaces the reservation by what was used; exactly once per reservation, repeatable. */
  settle(input: {
    readonly tenant: TenantId;
    readonly jurisdiction: Jurisdiction;
    readonly reservationId: string;
    readonly tokens: number;
    readonly costMicroUsd: number;
  }): Promise<{ readonly kind: "settled" | "unknown" }>;
}
