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
 * API keys: SHA-256 of the whole key, compared in constant time with up to two digests, so that the old and the new key
 * are both valid in a rotation. The key's own words must agree with the topology: it names jurisdiction and tenant.
 */
export function createKeyVerifier(options: KeyVerifierOptions): VerifyCredential {
  const { topology, digestOf } = options;

  function matches(digest: string, entries: readonly string[]): boolean {
    // Always two comparisons, whatever is configured: time tells neither the tenants nor their keys.
    const [first, second] = [entries[0], entries[1]].map((entry) =>
      equalInConstantTime(digest, (entry === undefined ? null : digestOf(entry)) ?? noDigest),
    );
    return first === true || second === true;
  }

  return async (presented) => {
    const parts = parseApiKey(presented);
    if (parts === null) return { kind: "refused" };
    const digest = await sha256Hex(new TextEncoder().encode(presented));
    if (parts.kind === "admin") {
      return matches(digest, topology.adminKeys) ? { kind: "admin" } : { kind: "refused" };
    }
    const tenant: TenantDescription | undefined = topology.tenants.get(parts.tenant as TenantId);
    const isValid = matches(digest, tenant?.keys ?? []);
    if (!isValid || tenant === undefined || tenant.jurisdiction !== parts.jurisdiction)
      return { kind: "refused" };
    return { kind: "tenant", tenant };
  };
}
