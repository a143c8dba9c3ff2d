import type { ReserveInput } from "#shared/budget/rpc.ts";
import type { Limits } from "#shared/config/limits.ts";
import type { Jurisdiction, TenantId } from "#shared/residency/brands.ts";

/** Saturday noon, UTC. */
export const noonMs = Date.UTC(2026, 10, 21, 12, 0, 0);

/** A request for a reservation of 100 tokens and 10 micro-dollars under the tenant's limits. */
export function aReservationUnder(
  tenant: Limits,
  overrides: Partial<ReserveInput> & { readonly key?: Limits } = {},
): ReserveInput {
  const { key = {}, ...rest } = overrides;
  return {
    tenant: "acme" as TenantId,
    jurisdiction: "eu" as Jurisdiction,
    keyId: "default",
    reservationId: "r1",
    tokens: 100,
    costMicroUsd: 10,
    limits: { tenant, key },
    expiresAtMs: noonMs + 60_000,
    ...rest,
  };
}
