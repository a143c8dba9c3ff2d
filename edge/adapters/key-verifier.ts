import type { TenantKey } from "#shared/config/limits.ts";
import type { TenantDescription, Topology } from "#shared/config/topology.ts";
import { parseApiKey } from "#shared/residency/api-key.ts";
import type { TenantId } from "#shared/residency/brands.ts";
import { equalInConstantTime } from "#shared/residency/identifiers.ts";
import type { VerifyCredential } from "../ports.ts";
import { sha256Hex } from "./web-crypto.ts";

/** Where the keys are. */
export interface KeyVerifierOptions {
  readonly topology: Topology;
  /** The hex digest that a topology entry (`sha256:…` or `env:NAME`) stands for; null when the variable is not set. */
  readonly digestOf: (entry: string) => string | null;
}

/** Stands where no digest is configured, so that an unknown tenant costs the same comparisons; it matches nothing. */
const noDigest = "-".repeat(64);

/**
 * API keys: SHA-256 of the whole key, compared in constant time with the digests of each key of its tenant, two of one
 * key, so that the old and the new are both valid in a rotation. The key's own words must agree with the topology: it
 * names jurisdiction and tenant.
 */
export function createKeyVerifier(options: KeyVerifierOptions): VerifyCredential {
  const { topology, digestOf } = options;
  const countOf = (keys: readonly TenantKey[]): number =>
    keys.reduce((count, { digests }) => count + digests.length, 0);
  // As many comparisons for each credential as for the tenant with most keys: time tells neither tenants nor keys.
  const comparisons = Math.max(
    topology.adminKeys.length,
    ...[...topology.tenants.values()].map(({ keys }) => countOf(keys)),
  );

  /** The place among `entries` of the one that `digest` is; -1 when it is none. */
  function placeOf(digest: string, entries: readonly string[]): number {
    let place = -1;
    for (let index = 0; index < comparisons; index += 1) {
      const entry = entries[index];
      const wanted = (entry === undefined ? null : digestOf(entry)) ?? noDigest;
      if (equalInConstantTime(digest, wanted)) place = index;
    }
    return place;
  }

  return async (presented) => {
    const parts = parseApiKey(presented);
    if (parts === null) return { kind: "refused" };
    const digest = await sha256Hex(new TextEncoder().encode(presented));
    if (parts.kind === "admin") {
      return placeOf(digest, topology.adminKeys) >= 0 ? { kind: "admin" } : { kind: "refused" };
    }
    const tenant: TenantDescription | undefined = topology.tenants.get(parts.tenant as TenantId);
    const entries = (tenant?.keys ?? []).flatMap((key) =>
      key.digests.map((text) => ({ key, text })),
    );
    const place = placeOf(
      digest,
      entries.map(({ text }) => text),
    );
    const key = entries[place]?.key;
    if (key === undefined || tenant === undefined || tenant.jurisdiction !== parts.jurisdiction)
      return { kind: "refused" };
    return { kind: "tenant", tenant, key };
  };
}
