import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";
import type { JSONWebKeySet } from "jose";
import type { IdentityProvider, Topology } from "#shared/config/topology.ts";
import type { TenantId } from "#shared/residency/brands.ts";
import type { VerifyCredential } from "../ports.ts";

export interface TokenVerifierOptions {
  readonly topology: Topology;
  readonly nowMs: () => number;
  readonly fetcher: typeof fetch;
}

/** Characters of a token; larger ones are refused before anything is decoded. */
const tokenCharactersMax = 8_192;
const jwksBytesMax = 65_536;
const jwksTimeoutMs = 2_000;
/** How long a key set is used without asking again, and the least time between two fetches, ms. */
const jwksKeptMs = 600_000;
const jwksCooldownMs = 30_000;
const clockToleranceSeconds = 5;
const tokenAgeMax = "24h";

interface CachedKeys {
  readonly keys: JSONWebKeySet | null;
  readonly fetchedAtMs: number;
  readonly triedAtMs: number;
}

function isKeySet(value: unknown): value is JSONWebKeySet {
  return (
    typeof value === "object" &&
    value !== null &&
    "keys" in value &&
    Array.isArray(value.keys) &&
    value.keys.length <= 64
  );
}

/**
 * JWTs of the topology's identity providers. Algorithms are pinned per provider, issuer and audience are checked, and the
 * keys come from the configured JWKS only: headers such as `jku` or `jwk` are never followed. Key sets are cached as data:
 * on Workers a fetch that two requests share can hang when the first one is cancelled (panva/jose issue 509).
 */
export function createTokenVerifier(options: TokenVerifierOptions): VerifyCredential {
  const { topology, nowMs, fetcher } = options;
  const cache = new Map<string, CachedKeys>();

  async function fetchKeys(provider: IdentityProvider): Promise<JSONWebKeySet | null> {
    try {
      const response = await fetcher(provider.jwksUrl, {
        redirect: "manual",
        signal: AbortSignal.timeout(jwksTimeoutMs),
        headers: { accept: "application/json" },
      });
      if (response.status !== 200) return null;
      const text = await response.text();
      if (text.length > jwksBytesMax) return null;
      const value: unknown = JSON.parse(text);
      return isKeySet(value) ? value : null;
    } catch {
      return null;
    }
  }

  /** The provider's keys; `kid` that they lack makes it ask again, at most once in the cool-down. */
  async function keysOf(
    provider: IdentityProvider,
    kid: string | undefined,
  ): Promise<JSONWebKeySet | null> {
    const now = nowMs();
    const cached = cache.get(provider.id);
    const hasKey = cached?.keys?.keys.some((key) => kid === undefined || key.kid === kid) ?? false;
    const isFresh = cached !== undefined && hasKey && now - cached.fetchedAtMs < jwksKeptMs;
    const isCooling = cached !== undefined && now - cached.triedAtMs < jwksCooldownMs;
    if (isFresh || isCooling) return cached?.keys ?? null;
    const before: CachedKeys = cached ?? { keys: null, fetchedAtMs: 0, triedAtMs: now };
    cache.set(provider.id, { ...before, triedAtMs: now });
    const keys = await fetchKeys(provider);
    // Keys of an earlier fetch stay in use while the issuer cannot be reached.
    if (keys === null) return before.keys;
    cache.set(provider.id, { keys, fetchedAtMs: now, triedAtMs: now });
    return keys;
  }

  return async (presented) => {
    if (presented.length > tokenCharactersMax) return { kind: "refused" };
    try {
      const { iss } = decodeJwt(presented);
      const header = decodeProtectedHeader(presented);
      const provider = topology.identityProviders.find((candidate) => candidate.issuer === iss);
      if (provider === undefined || header.alg === undefined) return { kind: "refused" };
      if (!provider.algorithms.some((algorithm) => algorithm === header.alg))
        return { kind: "refused" };
      if (header.kid !== undefined && typeof header.kid !== "string") return { kind: "refused" };
      if (header.typ !== undefined && !/^(?:at\+)?jwt$/i.test(header.typ))
        return { kind: "refused" };
      const keys = await keysOf(provider, header.kid);
      if (keys === null) return { kind: "refused" };
      const { payload } = await jwtVerify(presented, createLocalJWKSet(keys), {
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
      return tenant === undefined ? { kind: "refused" } : { kind: "tenant", tenant };
    } catch {
      return { kind: "refused" };
    }
  };
}
