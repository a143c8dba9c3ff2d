import { base62, tenantTagLength } from "#shared/residency/identifiers.ts";
import type { IdentifierPort } from "#shared/residency/identifiers.ts";
import { createHmac } from "./web-crypto.ts";

/** Tenant tags kept in memory; they are the same for every id of a tenant. */
const tagsMax = 10_000;
/** Random bytes drawn beyond one for each letter: one in 32 is left out, so a second draw is rare. */
const spareBytes = 8;

/**
 * Identifiers' keyed functions on WebCrypto; the key is imported once, tags are remembered. Another key makes every id
 * that was given out unknown.
 * @throws RangeError when the key is not hex.
 */
export function createIdentifierPort(keyHex: string): IdentifierPort {
  const hmac = createHmac(keyHex);
  const tags = new Map<string, string>();
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
      // Bytes of 248 and more are left out, so that every one of the 62 letters is as likely.
      let letters = "";
      while (letters.length < length) {
        const bytes = crypto
          .getRandomValues(new Uint8Array(length + spareBytes))
          .filter((byte) => byte < 248);
        letters += base62(bytes, Math.min(bytes.length, length - letters.length));
      }
      return letters;
    },
  };
}
