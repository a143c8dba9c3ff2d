import { createLocalJWKSet } from "jose";
import type { JSONWebKeySet } from "jose";
import type { IdentityProvider } from "#shared/config/topology.ts";

/** Bytes of a key set; a larger one is refused while it is read. */
export const keySetBytesMax = 65_536;
/** Keys of one set that are looked at. */
const keysMax = 64;
/** How long one fetch may take, its body included, ms; shorter than the 5 s of jose, since a request waits for it. */
export const keySetTimeoutMs = 2_000;
/** How long a key set is used without asking again, ms; jose's `cacheMaxAge`. */
export const keySetKeptMs = 600_000;
/** Least time from the end of one fetch to the next, ms; jose's `cooldownDuration`. A flood of unknown key ids costs no more. */
export const keySetCooldownMs = 30_000;
/** How long keys stay in use while their issuer cannot be reached, ms; past it a revoked key could live on for ever. */
export const keySetStaleMsMax = 86_400_000;
/** Step in which a request waits for the fetch of another one, ms. */
const pauseMs = 25;

/** Finds a token's key in a set that was fetched; jose's resolver. */
export type ResolveKey = ReturnType<typeof createLocalJWKSet>;

interface KeySet {
  readonly resolve: ResolveKey;
  readonly kids: ReadonlySet<string>;
  readonly fetchedAtMs: number;
}

interface ProviderState {
  readonly keySet: KeySet | null;
  /** When the fetch that runs began; its request may be gone, so that it counts for {@link keySetTimeoutMs} only. */
  readonly fetchingSinceMs: number | null;
  readonly endedAtMs: number | null;
}

const unknownState: ProviderState = { keySet: null, fetchingSinceMs: null, endedAtMs: null };

/** Clock, network and timer of the cache. */
export interface KeySetCacheOptions {
  readonly nowMs: () => number;
  readonly fetcher: typeof fetch;
  /** Resolves after `ms`, in the context of the request that waits. */
  readonly pause?: (ms: number) => Promise<void>;
}

function isKeySet(value: unknown): value is JSONWebKeySet {
  return (
    typeof value === "object" &&
    value !== null &&
    "keys" in value &&
    Array.isArray(value.keys) &&
    value.keys.length <= keysMax &&
    value.keys.every((key) => typeof key === "object" && key !== null)
  );
}

/** The text of a body of at most {@link keySetBytesMax}; null for a longer one, which is not read to its end. */
async function readText(response: Response): Promise<string | null> {
  if (response.body === null) return null;
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  const reader = response.body.getReader();
  let bytes = 0;
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.byteLength;
    if (bytes > keySetBytesMax) {
      await reader.cancel();
      return null;
    }
    text += decoder.decode(value, { stream: true });
  }
}

/**
 * The key sets of identity providers. They are cached as data: on Workers a fetch that two requests share can hang when
 * the first one is cancelled (panva/jose issue 509), so that a second request waits by a timer of its own and looks again.
 * Answers null where no usable keys are known. Never throws.
 */
export function createKeySetCache(
  options: KeySetCacheOptions,
): (provider: IdentityProvider, kid: string | undefined) => Promise<ResolveKey | null> {
  const { nowMs, fetcher } = options;
  const pause = options.pause ?? ((ms) => new Promise((resolve) => void setTimeout(resolve, ms)));
  /** One entry per provider of the topology. */
  const states = new Map<string, ProviderState>();

  async function fetchKeySet(url: string): Promise<Omit<KeySet, "fetchedAtMs"> | null> {
    try {
      const response = await fetcher(url, {
        redirect: "manual",
        signal: AbortSignal.timeout(keySetTimeoutMs),
        headers: { accept: "application/json" },
      });
      if (response.status !== 200) {
        await response.body?.cancel();
        return null;
      }
      const text = await readText(response);
      const value: unknown = text === null ? null : JSON.parse(text);
      if (!isKeySet(value)) return null;
      const kids = value.keys.flatMap(({ kid }) => (typeof kid === "string" ? [kid] : []));
      return { resolve: createLocalJWKSet(value), kids: new Set(kids) };
    } catch {
      return null;
    }
  }

  async function refresh(provider: IdentityProvider, state: ProviderState): Promise<KeySet | null> {
    states.set(provider.id, { ...state, fetchingSinceMs: nowMs() });
    const fetched = await fetchKeySet(provider.jwksUrl);
    const endedAtMs = nowMs();
    const keySet = fetched === null ? state.keySet : { ...fetched, fetchedAtMs: endedAtMs };
    states.set(provider.id, { keySet, fetchingSinceMs: null, endedAtMs });
    return keySet;
  }

  /** Keys of an earlier fetch, while they are not too old. */
  function usable(keySet: KeySet | null): ResolveKey | null {
    if (keySet === null || nowMs() - keySet.fetchedAtMs > keySetStaleMsMax) return null;
    return keySet.resolve;
  }

  return async (provider, kid) => {
    for (let pauses = 0; pauses <= keySetTimeoutMs / pauseMs; pauses += 1) {
      const state = states.get(provider.id) ?? unknownState;
      const { keySet, fetchingSinceMs, endedAtMs } = state;
      const now = nowMs();
      const hasKey = keySet !== null && (kid === undefined || keySet.kids.has(kid));
      if (hasKey && now - keySet.fetchedAtMs < keySetKeptMs) return keySet.resolve;
      if (fetchingSinceMs === null || now - fetchingSinceMs >= keySetTimeoutMs) {
        const isCooling = endedAtMs !== null && now - endedAtMs < keySetCooldownMs;
        return usable(isCooling ? keySet : await refresh(provider, state));
      }
      // Another request is fetching: old keys will do, an unknown key is waited for.
      if (hasKey) return usable(keySet);
      await pause(pauseMs);
    }
    return usable(states.get(provider.id)?.keySet ?? null);
  };
}
