import { equalInConstantTime } from "../residency/identifiers.ts";
import type { CellId } from "../residency/brands.ts";
import { shardLifecycles } from "../warming/shard-lifecycle.ts";
import { breakerStates } from "./hint.ts";
import type { CellHint, ShardHint } from "./hint.ts";

/** HMAC-SHA-256 of a text under the health key, as 64 lower-case hex digits. */
export type HintMac = (text: string) => string | Promise<string>;

/** Why a value is no hint: metric label and log field. */
export type HintRefusal = "missing" | "tooLong" | "malformed" | "badMac" | "badShape" | "otherCell";

/** A hint that its cell has written, or why the value is none. */
export type DecodedHint =
  | { readonly ok: true; readonly hint: CellHint }
  | { readonly ok: false; readonly reason: HintRefusal };

/** Longest value, characters: 1,024 shards with ids of 96 characters, as the topology allows them, stay below it. */
export const hintCharactersMax = 262_144;
const shardsMax = 1_024;
const modelsMax = 1_024;
/** A saturation over this is no measurement. */
const saturationMax = 1_000;
const macCharacters = 64;

const cellPattern = /^[a-z][a-z0-9-]{0,31}$/;
/** Ids of shards and models as the topology has them; neither can hold a URL, the model's by the second look. */
const shardPattern = /^[a-z][a-z0-9-]{0,31}\/[a-z0-9][a-z0-9._-]{0,63}$/;
const modelPattern = /^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,127}$/;

function isCount(value: unknown, max = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max;
}

function isShare(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 && value <= max;
}

function isOneOf<Word extends string>(words: readonly Word[], value: unknown): value is Word {
  return words.some((word) => word === value);
}

function isModel(value: unknown): value is string {
  return typeof value === "string" && modelPattern.test(value) && !value.includes("//");
}

function isVersion(value: unknown): value is CellHint["v"] {
  return value === 1 || value === 2;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasExactly(value: Readonly<Record<string, unknown>>, keys: readonly string[]): boolean {
  return (
    Object.keys(value).length === keys.length && keys.every((key) => Object.hasOwn(value, key))
  );
}

const shardKeys = "id weight state inFlight queued breaker".split(" ");
const shardKeysV2 = [...shardKeys, "readyInSeconds"];
/** A start that takes longer is none: a day. */
const readyInSecondsMax = 86_400;
const hintKeys = "v cell boot counter atMs weight saturation level models shards".split(" ");

function readShard(value: unknown, cell: CellId, version: CellHint["v"]): ShardHint | null {
  if (!isRecord(value) || !hasExactly(value, version === 1 ? shardKeys : shardKeysV2)) return null;
  const { id, weight, state, inFlight, queued, breaker, readyInSeconds } = value;
  if (typeof id !== "string" || !shardPattern.test(id) || !id.startsWith(`${cell}/`)) return null;
  if (!isShare(weight, 1) || !isCount(inFlight) || !isCount(queued)) return null;
  if (!isOneOf(shardLifecycles, state) || !isOneOf(breakerStates, breaker)) return null;
  const shard = { id, weight, state, inFlight, queued, breaker };
  if (version === 1) return shard;
  if (readyInSeconds !== null && !isShare(readyInSeconds, readyInSecondsMax)) return null;
  return { ...shard, readyInSeconds };
}

/** The hint in `value`, or null when it is not exactly one of `cell`: a field more or less, another version, a URL. */
function readHint(value: Readonly<Record<string, unknown>>, cell: CellId): CellHint | null {
  const { v } = value;
  if (!hasExactly(value, hintKeys) || !isVersion(v) || value["cell"] !== cell) return null;
  const { boot, counter, atMs, weight, saturation, level, models, shards } = value;
  if (!cellPattern.test(cell) || !isCount(boot) || !isCount(counter) || !isCount(atMs)) return null;
  if (!isShare(weight, 1) || !isShare(saturation, saturationMax) || !isCount(level, 4)) return null;
  if (!Array.isArray(models) || models.length > modelsMax || !models.every(isModel)) return null;
  if (!Array.isArray(shards) || shards.length > shardsMax) return null;
  const readShards: ShardHint[] = [];
  for (const entry of shards) {
    const shard = readShard(entry, cell, v);
    if (shard === null) return null;
    readShards.push(shard);
  }
  return {
    v,
    cell,
    boot,
    counter,
    atMs,
    weight,
    saturation,
    level,
    models,
    shards: readShards,
  };
}

function macInput(payload: string): string {
  return `health;v1;${payload}`;
}

/**
 * The value to store for `hint`: `<mac>.<JSON>`. Null when the hint is not one that {@link decodeHint} would take: what may
 * not be in the KV is stopped before it is there. Rejects only when `mac` does.
 */
export async function encodeHint(hint: CellHint, mac: HintMac): Promise<string | null> {
  if (readHint({ ...hint }, hint.cell) === null) return null;
  const payload = JSON.stringify(hint);
  if (macCharacters + 1 + payload.length > hintCharactersMax) return null;
  return `${await mac(macInput(payload))}.${payload}`;
}

/**
 * The hint of `expected.cell` in a value of the KV. Nothing is parsed before the MAC holds; what is parsed is still checked
 * in full, so that a cell with a fault cannot pass on more than ids, numbers and times. Rejects only when `mac` does.
 */
export async function decodeHint(
  text: unknown,
  mac: HintMac,
  expected: { readonly cell: CellId },
): Promise<DecodedHint> {
  const refuse = (reason: HintRefusal): DecodedHint => ({ ok: false, reason });
  if (text === null || text === undefined) return refuse("missing");
  if (typeof text !== "string") return refuse("malformed");
  if (text.length > hintCharactersMax) return refuse("tooLong");
  if (text.indexOf(".") !== macCharacters) return refuse("malformed");
  const payload = text.slice(macCharacters + 1);
  const expectedMac = await mac(macInput(payload));
  if (!equalInConstantTime(text.slice(0, macCharacters), expectedMac)) return refuse("badMac");
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch {
    return refuse("badShape");
  }
  if (!isRecord(value)) return refuse("badShape");
  if (isVersion(value["v"]) && value["cell"] !== expected.cell) return refuse("otherCell");
  const hint = readHint(value, expected.cell);
  return hint === null ? refuse("badShape") : { ok: true, hint };
}
