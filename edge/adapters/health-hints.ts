import { Redis } from "@upstash/redis/cloudflare";
import type { CellDescription } from "#shared/config/topology.ts";
import { decodeHint } from "#shared/health/hint-codec.ts";
import type { HintRefusal } from "#shared/health/hint-codec.ts";
import { hintKey, mergeHint } from "#shared/health/hint.ts";
import type { CellHint } from "#shared/health/hint.ts";
import type { CellId, Jurisdiction } from "#shared/residency/brands.ts";
import { classifyHealthKvFailure } from "./health-kv-failure.ts";
import type { HealthKvFailure } from "./health-kv-failure.ts";

/** What became of one look at a cell's key. A failure of the KV as a whole counts once per refresh. */
export type HintOutcome = "accepted" | "older" | HintRefusal | HealthKvFailure;

export interface HealthHintsOptions {
  readonly url: string;
  /** The read-only token: the edge never writes. */
  readonly token: string;
  /** HMAC-SHA-256 under the health key, hex. */
  readonly macHex: (text: string) => Promise<string>;
  /** The cells of all jurisdictions that this Worker serves. */
  readonly cells: readonly CellDescription[];
  readonly nowMs: () => number;
  /** Told of what is wrong with the KV; a key that is merely missing is not. Never given any text of the KV. */
  readonly onFailure: (reason: Exclude<HintOutcome, "accepted" | "older" | "missing">) => void;
}

/** The isolate's copy of the cells' hints. */
export interface HealthHints {
  /** The last copy for the cells of one jurisdiction, at once; empty until the first refresh has ended. */
  read(jurisdiction: Jurisdiction): ReadonlyMap<CellId, CellHint>;
  /** Renews the copy in the background when the last try is 2 s old. Never throws, and no request waits for it. */
  refresh(waitUntil: (work: Promise<unknown>) => void): void;
  /** How often each outcome came since the isolate began. */
  counts(): Readonly<Partial<Record<HintOutcome, number>>>;
}

/** An isolate asks at most this often: it bounds the price, and hints are seconds old anyway, ms. */
const refreshIntervalMs = 2_000;
/** Longer than a read of the nearest replica takes; past it the last copy is good enough, ms (docs/architecture.md). */
const readTimeoutMs = 50;
const none: ReadonlyMap<CellId, CellHint> = new Map();

/**
 * Hints read through Upstash's REST API, off the critical path. Data alone outlives a request, no promise: workerd lets no
 * request wait for another's I/O. A KV that is gone, frozen, empty, or full of rubbish leaves the last copy, which ages.
 */
export function createHealthHints(options: HealthHintsOptions): HealthHints {
  const { cells, macHex, nowMs, onFailure } = options;
  const redis = new Redis({
    url: options.url,
    token: options.token,
    // `false` would still try twice: the client counts tries from 0 (@upstash/redis 1.39.0).
    retry: { retries: 0, backoff: () => 0 },
    enableTelemetry: false,
    // It would join the commands of concurrent requests in one promise.
    enableAutoPipelining: false,
    readYourWrites: false,
    automaticDeserialization: false,
    // A function: a static signal would turn a timeout into a made-up answer.
    signal: () => AbortSignal.timeout(readTimeoutMs),
  });
  const keys = cells.map((cell) => hintKey(cell.id));
  const hints = new Map<Jurisdiction, Map<CellId, CellHint>>();
  const counts: Partial<Record<HintOutcome, number>> = {};
  let triedAtMs = Number.NEGATIVE_INFINITY;

  function count(outcome: HintOutcome): void {
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    if (outcome !== "accepted" && outcome !== "older" && outcome !== "missing") onFailure(outcome);
  }

  async function take(cell: CellDescription, value: unknown): Promise<HintOutcome> {
    const decoded = await decodeHint(value, macHex, { cell: cell.id });
    if (!decoded.ok) return decoded.reason;
    const own = hints.get(cell.jurisdiction) ?? new Map<CellId, CellHint>();
    const kept = mergeHint(own.get(cell.id), decoded.hint);
    own.set(cell.id, kept);
    hints.set(cell.jurisdiction, own);
    return kept === decoded.hint ? "accepted" : "older";
  }

  async function load(): Promise<void> {
    try {
      const values: unknown = await redis.mget(keys);
      if (!Array.isArray(values) || values.length !== keys.length) return count("malformed");
      for (const [index, cell] of cells.entries()) count(await take(cell, values[index]));
    } catch (error) {
      count(classifyHealthKvFailure(error));
    }
  }

  return {
    read: (jurisdiction) => hints.get(jurisdiction) ?? none,
    refresh(waitUntil) {
      const now = nowMs();
      // A clock that went back must not stop the refreshes.
      if (keys.length === 0 || Math.abs(now - triedAtMs) < refreshIntervalMs) return;
      triedAtMs = now;
      waitUntil(load());
    },
    counts: () => ({ ...counts }),
  };
}
