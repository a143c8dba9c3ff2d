import { decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";
import type { Topology } from "#shared/config/topology.ts";
import type { TenantId } from "#shared/residency/brands.ts";
import type { VerifyCredential } from "../ports.ts";
import { createKeySetCache } from "./key-set-cache.ts";
import type { KeySetCacheOptions } from "./key-set-cache.ts";

/** Whose tokens are taken, and how their keys are fetched. */
export interface TokenVerifierOptions extends KeySetCacheOptions {
  readonly topology: Topology;
}

/** Characters of a token; larger ones are refused before anything is decoded. */
export const tokenCharactersMax = 8_192;
/** Difference between the issuer's clock and ours that is allowed, seconds. */
const clockToleranceSeconds = 5;
/** Oldest token by its `iat`, which is therefore required. */
const tokenAgeMax = "24h";

/**
 * JWTs of the topology's identity providers. Algorithms are pinned per provider, issuer and audience are checked, and the
 * keys come from the configured JWKS only: headers such as `jku` or `jwk` are never followed. The tenant is the one that
 * the provider's `tenantClaim` names. Whatever is wrong, the answer is the same refusal.
 */
export function createTokenVerifier(options: TokenVerifierOptions): VerifyCredential {
  const { topology, nowMs } = options;
  const keysOf = createKeySetCache(options);

  return async (presented) => {
    if (presented.length > tokenCharactersMax) return { kind: "refused" };
    try {
      const { iss } = decodeJwt(presented);
      const { alg, kid, typ } = decodeProtectedHeader(presented);
      const provider = topology.identityProviders.find((candidate) => candidate.issuer === iss);
      if (provider === undefined || !provider.algorithms.some((allowed) => allowed === alg))
        return { kind: "refused" };
      if (kid !== undefined && typeof kid !== "string") return { kind: "refused" };
      if (typ !== undefined && !(typeof typ === "string" && /^(?:at\+)?jwt$/i.test(typ)))
        return { kind: "refused" };
      const resolve = await keysOf(provider, kid);
      if (resolve === null) return { kind: "refused" };
      const { payload } = await jwtVerify(presented, resolve, {
        algorithms: provider.algorithms,
        issuer: provider.issuer,
        audience: provider.audience,
        clockTolerance: clockToleranceSeconds,
        maxTokenAge: tokenAgeMax,
        requiredClaims: ["sub", "exp"],
        currentDate: new Date(nowMs()),
      });
      const name = payload[provider.tenantClaim];
      const tenant = typeof name === "string" ? topology.tenants.get(name as TenantId) : undefined;
      if (tenant === undefined) return { kind: "refused" };
      // Who comes with a token has no key: its requests count as those of the key without a name.
      return { kind: "tenant", tenant, key: tenant.keys[0] };
    } catch {
      return { kind: "refused" };
    }
  };
}
