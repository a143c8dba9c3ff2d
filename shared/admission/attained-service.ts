/** How much service each tenant was given of late, tokens; halves every `halfLifeMs`. */
export interface AttainedService {
  /** What `tenant` has attained as it counts at `nowMs`; 0 of one that is not remembered. */
  of(tenant: string, nowMs: number): number;
  add(tenant: string, tokens: number, nowMs: number): void;
  /** Tenants remembered, at most `tenantsMax`. */
  size(): number;
}

interface Service {
  readonly tokens: number;
  readonly atMs: number;
}

/** An empty memory. Past `tenantsMax` the tenant longest without service is forgotten: its share has faded most. */
export function createAttainedService(halfLifeMs: number, tenantsMax: number): AttainedService {
  const known = new Map<string, Service>();

  function decayed(service: Service | undefined, nowMs: number): number {
    if (service === undefined) return 0;
    return service.tokens * 0.5 ** (Math.max(0, nowMs - service.atMs) / halfLifeMs);
  }

  return {
    of: (tenant, nowMs) => decayed(known.get(tenant), nowMs),
    add(tenant, tokens, nowMs) {
      const sum = decayed(known.get(tenant), nowMs) + tokens;
      // Deleted first, so that the map's order is that of the last service.
      known.delete(tenant);
      known.set(tenant, { tokens: sum, atMs: nowMs });
      if (known.size <= tenantsMax) return;
      for (const oldest of known.keys()) {
        known.delete(oldest);
        break;
      }
    },
    size: () => known.size,
  };
}
