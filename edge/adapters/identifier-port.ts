import { base62, tenantTagLength } from "#shared/residency/identifiers.ts";
import type { IdentifierPort } from "#shared/residency/identifiers.ts";
import { createHmac } from "./web-crypto.ts";

/** Tenant tags kept in memory; they are the same for every id of a tenant. */
const tagsMax = 10_000;
/** Random bytes drawn at a time: a call to the runtime costs more than the bytes of many identifiers. */
const drawnBytes = 1024;
/** Bytes of it and more are left out, so that every one of the 62 letters is as likely. */
const unevenFrom = 248;

/**
 * Identifiers' keyed functions on WebCrypto; the key is imported once, tags are remembered. Another key makes every id
 * that was given out unknown.
 * @throws RangeError when the key is not hex.
 */
export function createIdentifierPort(keyHex: string): IdentifierPort {
  const hmac = createHmac(keyHex);
  const tags = new Map<string, string>();
  let drawn = new Uint8Array(0);
  let used = 0;

  /** A random byte that is used once. */
  function nextByte(): number {
    if (used >= drawn.length) {
      drawn = crypto.getRandomValues(new Uint8Array(drawnBytes));
      used = 0;
    }
    const byte = drawn[used] ?? 0;
    drawn[used] = 0;
    used += 1;
    return byte;
  }

  return {
    async mac(text, length) {
      const isTag = length === tenantTagLength;
      const known = isTag ? tags.get(text) : undefined;
      if (known !== undefined) return known;
      const value = base62(await hmac(text), length);
      if (isTag) {
        if (tags.size >= tagsMax) tags.clear();
        tags.set(text, value);
      }
      return value;
    },
    random(length) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const byte = nextByte();
        if (byte >= unevenFrom) continue;
        bytes[at] = byte;
        at += 1;
      }
      return base62(bytes, length);
    },
  };
}
