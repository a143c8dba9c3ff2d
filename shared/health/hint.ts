import type { CellId } from "../residency/brands.ts";
import { equalInConstantTime } from "../residency/identifiers.ts";

/** What a cell publishes of one shard: an id, numbers and words of closed lists. */
export interface ShardHint {
  readonly id: string;
  /** 0..1. */
  readonly weight: number;
  readonly state: "cold" | "warming" | "ready" | "draining" | "failed";
  readonly inFlight: number;
  readonly queued: number;
}

/** What a cell publishes of itself. Never content, tenants or URLs: every key of the KV is in every region. */
export interface CellHint {
  readonly v: 1;
  readonly cell: CellId;
  /** The cell's start, ms since the epoch; with `counter` the version that orders its hints. */
  readonly boot: number;
  readonly counter: number;
  readonly atMs: number;
  /** 0..1. */
  readonly weight: number;
  /** Used share of capacity, 0 or more. */
  readonly saturation: number;
  /** Degradation level, 0..4. */
  readonly level: number;
  readonly models: readonly string[];
  readonly shards: readonly ShardHint[];
}

/** Longest value that is read, characters; a cell of 1,024 shards stays below it. */
export const hintCharactersMax = 262_144;

/** The KV's key of a cell's hint. */
export function hintKey(cell: CellId): string {
  return `meridian:health:v1:${cell}`;
}

/** The text that the MAC covers. */
export function hintMacInput(payload: string): string {
  return `health;v1;${payload}`;
}

/** Payload and MAC as one value: `<mac>.<JSON>`. */
export function formatHint(payload: string, mac: string): string {
  return `${mac}.${payload}`;
}

const states = new Set(["cold", "warming", "ready", "draining", "failed"]);
const idPattern = /^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,127}$/;

function isCount(value: unknown, max = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max;
}

function isShare(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 && value <= max;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasOnly(value: Readonly<Record<string, unknown>>, keys: readonly string[]): boolean {
  return (
    Object.keys(value).length === keys.length && keys.every((key) => Object.hasOwn(value, key))
  );
}

function isShardHint(value: unknown): value is ShardHint {
  if (!isRecord(value) || !hasOnly(value, ["id", "weight", "state", "inFlight", "queued"]))
    return false;
  const { id, weight, state, inFlight, queued } = value;
  return (
    typeof id === "string" &&
    idPattern.test(id) &&
    isShare(weight, 1) &&
    typeof state === "string" &&
    states.has(state) &&
    isCount(inFlight) &&
    isCount(queued)
  );
}

const hintKeys = [
  "v",
  "cell",
  "boot",
  "counter",
  "atMs",
  "weight",
  "saturation",
  "level",
  "models",
  "shards",
];

/** The hint in a payload, or null when it is not exactly one of `cell`: another version, a URL, an unknown field. */
function parseHint(payload: string, cell: CellId): CellHint | null {
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch {
    return null;
  }
  if (!isRecord(value) || !hasOnly(value, hintKeys) || value["v"] !== 1 || value["cell"] !== cell)
    return null;
  const { boot, counter, atMs, weight, saturation, level, models, shards } = value;
  if (!isCount(boot) || !isCount(counter) || !isCount(atMs) || !isCount(level, 4)) return null;
  if (!isShare(weight, 1) || !isShare(saturation, 1_000)) return null;
  if (!Array.isArray(models) || models.length > 1_024) return null;
  if (!models.every((model) => typeof model === "string" && idPattern.test(model))) return null;
  if (!Array.isArray(shards) || shards.length > 1_024 || !shards.every(isShardHint)) return null;
  return { v: 1, cell, boot, counter, atMs, weight, saturation, level, models, shards };
}

/** Takes a value apart; null when it is too long or has no MAC in front. The caller computes the MAC of the payload. */
export function splitHint(
  text: unknown,
): { readonly mac: string; readonly payload: string } | null {
  if (typeof text !== "string" || text.length > hintCharactersMax) return null;
  const dot = text.indexOf(".");
  if (dot !== 64) return null;
  return { mac: text.slice(0, dot), payload: text.slice(dot + 1) };
}

/** The hint whose MAC (hex HMAC-SHA-256 of {@link hintMacInput}) holds; else null. */
export function openHint(
  parts: { readonly mac: string; readonly payload: string },
  expectedMac: string,
  cell: CellId,
): CellHint | null {
  return equalInConstantTime(parts.mac, expectedMac) ? parseHint(parts.payload, cell) : null;
}

/** The newer of two hints by (boot, counter): a lost write or a resurrected key never turns time back. */
export function newerHint(previous: CellHint | undefined, next: CellHint): CellHint {
  if (previous === undefined) return next;
  const isOlder =
    next.boot < previous.boot || (next.boot === previous.boot && next.counter < previous.counter);
  return isOlder ? previous : next;
}

/**
 * A hint's weight as far as its age allows to believe it: full when fresh, then linearly back to 1 (no opinion) at
 * `ageMsMax`. A time in the future counts as now: clocks differ.
 */
export function ageWeight(hint: CellHint, nowMs: number, ageMsMax: number): number {
  const ageShare = Math.min(1, Math.max(0, nowMs - hint.atMs) / ageMsMax);
  return hint.weight + (1 - hint.weight) * ageShare;
}
