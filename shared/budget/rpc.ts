import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { Limits } from "../config/limits.ts";
import type { Jurisdiction, TenantId } from "../residency/brands.ts";

/** What a request will take at most; tokens are prompt estimate plus the most that may be generated. */
export interface ReserveInput {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  /** The tenant's key that the request came with. */
  readonly keyId: string;
  /** Unique per request; a repeat with the same id gets the same answer and reserves once. */
  readonly reservationId: string;
  readonly tokens: number;
  readonly costMicroUsd: number;
  /** Both hold at once. */
  readonly limits: { readonly tenant: Limits; readonly key: Limits };
  /** When a reservation that nobody settles is charged in full, ms since the epoch. */
  readonly expiresAtMs: number;
}

/** A limit of a tenant or of a key. */
export type LimitName =
  | "requests"
  | "tokens"
  | "burst"
  | "concurrent"
  | "budget-day"
  | "budget-month";

/** State of one limit, for the RateLimit headers. */
export interface LimitState {
  readonly name: LimitName;
  readonly scope: "tenant" | "key";
  readonly quota: number;
  /** Null: a limit of what runs at once, which no window has. */
  readonly windowMs: number | null;
  readonly remaining: number;
  /** Time until the quota is whole again, or after a refusal until the request fits; null when nobody knows. */
  readonly resetMs: number | null;
}

/** The answer to a reservation. */
export type ReserveResult =
  | {
      readonly kind: "reserved";
      readonly states: readonly LimitState[];
      /** Whether it has to be settled; a request rate alone has nothing to give back. */
      readonly isHeld: boolean;
    }
  | {
      readonly kind: "refused";
      readonly error: ErrorOutcome;
      readonly states: readonly LimitState[];
    };

/** What a settlement says: what was used, or that nobody knows, and then it is what was reserved. */
export interface SettleInput {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly reservationId: string;
  readonly used: { readonly tokens: number; readonly costMicroUsd: number } | "unknown";
}

/** The RPC surface of a TenantLedger object: one per tenant and jurisdiction. Nothing about content. */
export interface TenantLedgerRpc {
  /** Reserves or refuses; zero overshoot, durable on return. */
  reserve(input: ReserveInput): Promise<ReserveResult>;
  /** Replaces the reservation by what was used; exactly once per reservation, repeatable. */
  settle(input: SettleInput): Promise<{ readonly kind: "settled" | "unknown" }>;
}
