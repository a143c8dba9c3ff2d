import { Redis } from "@upstash/redis/cloudflare";
import type { CellDescription } from "#shared/config/topology.ts";
import { hintKey, hintMacInput, newerHint, openHint, splitHint } from "#shared/health/hint.ts";
import type { CellHint } from "#shared/health/hint.ts";
import type { CellId } from "#shared/residency/brands.ts";

export interface HealthHintsOptions {
  readonly url: string;
  /** The read-only token: the edge never writes. */
  readonly token: string;
  /** HMAC-SHA-256 under the health key, hex. */
  readonly macHex: (text: string) => Promise<string>;
  readonly cells: readonly CellDescription[];
  readonly nowMs: () => number;
  readonly onFailure: () => void;
}

/** The isolate's copy of the cells' hints. */
export interface HealthHints {
  /** The last copy, at once; empty until the first refresh. */
  read(): ReadonlyMap<CellId, CellHint>;
  /** Refreshes the copy in the background when it is older than 2 s; never awaited by a request, never throws. */
  refresh(waitUntil: (work: Promise<unknown>) => void): void;
}

const refreshIntervalMs = 2_000;
const readTimeoutMs = 50;

/** Hints read through Upstash's REST API, off the critical path. Only data is kept between requests, no promise. */
export function createHealthHints(options: HealthHintsOptions): HealthHints {
  const redis = new Redis({
    url: options.url,
    token: options.token,
    retry: false,
    enableTelemetry: false,
    signal: () => AbortSignal.timeout(readTimeoutMs),
    automaticDeserialization: false,
  });
  let hints: ReadonlyMap<CellId, CellHint> = new Map();
  let refreshedAtMs = Number.NEGATIVE_INFINITY;

  async function load(): Promise<void> {
    try {
      const values = await redis.mget<(string | null)[]>(
        options.cells.map((cell) => hintKey(cell.id)),
      );
      const next = new Map(hints);
      for (const [index, cell] of options.cells.entries()) {
        const parts = splitHint(values[index]);
        if (parts === null) continue;
        const hint = openHint(parts, await options.macHex(hintMacInput(parts.payload)), cell.id);
        if (hint !== null) next.set(cell.id, newerHint(next.get(cell.id), hint));
      }
      hints = next;
    } catch {
      options.onFailure();
    }
  }

  return {
    read: () => hints,
    refresh(waitUntil) {
      const nowMs = options.nowMs();
      if (nowMs - refreshedAtMs < refreshIntervalMs) return;
      refreshedAtMs = nowMs;
      waitUntil(load());
    },
  };
}
