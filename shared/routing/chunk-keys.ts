import type { JsonObject, JsonValue } from "../protocol/json.ts";
import { hash64, unitOf } from "./hash.ts";
import type { Hash64 } from "./hash.ts";

/** Characters of a chunk, and the tokens that they are counted as: four characters a token, as prompts are estimated. */
const chunkCharacters = 1_024;
export const chunkTokens = 256;
/** Chunks of a prompt that get a key: 131,072 tokens, hashed in about 2 ms. What comes after is left to the home's own count. */
const chunksMax = 512;
/** Values inside one another that are looked into; deeper ones are passed over. */
const depthMax = 32;

/** Fields of a request that its prompt is made of, in the order in which chat templates render them. */
const promptFields = ["tools", "functions", "messages", "prompt"] as const;

/**
 * Keys of a prompt's leading chunks, chained: equal keys at a position mean equal prompts up to there. `seed` keeps apart what
 * must not meet, such as tenants; keys of different seeds have nothing in common. A tail shorter than a chunk has no key.
 * Not cryptographic: what is kept and compared is an estimate of caches, and never leaves its cell.
 */
export function chunkKeys(seed: string, body: JsonObject): readonly number[] {
  const keys: number[] = [];
  let hash: Hash64 = hash64(seed);
  let filled = 0;

  function feed(text: string): void {
    for (let from = 0; from < text.length && keys.length < chunksMax;) {
      const to = Math.min(text.length, from + chunkCharacters - filled);
      hash = hash64(from === 0 && to === text.length ? text : text.slice(from, to), hash);
      filled += to - from;
      from = to;
      if (filled < chunkCharacters) continue;
      keys.push(unitOf(hash));
      filled = 0;
    }
  }

  function walk(value: JsonValue | undefined, depth: number): void {
    if (value === undefined || keys.length >= chunksMax || depth > depthMax) return;
    if (typeof value === "string") return feed(value);
    if (typeof value !== "object" || value === null) return feed(String(value));
    if (Array.isArray(value)) {
      for (const inner of value) walk(inner, depth + 1);
      return;
    }
    for (const [name, inner] of Object.entries(value)) {
      feed(name);
      walk(inner, depth + 1);
    }
  }

  for (const field of promptFields) walk(body[field], 0);
  return keys;
}
