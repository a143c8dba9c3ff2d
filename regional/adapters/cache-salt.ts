import { createHmac } from "node:crypto";
import { cacheSaltInput } from "#shared/conversation/turn-engine-body.ts";

/** Salts kept: one per tenant, jurisdiction and model that was asked for; the oldest goes first. */
const saltsMax = 10_000;

/**
 * The salt of a tenant's cached prefixes: hex HMAC-SHA-256, 64 digits. Without the key nobody can make prompts that meet
 * another tenant's cache and tell by time what is in it (reliability page, 9.4).
 * @param keyHex 64 hex digits.
 */
export function createCacheSalt(
  keyHex: string,
): (tenant: string, jurisdiction: string, model: string) => string {
  const key = Buffer.from(keyHex, "hex");
  const known = new Map<string, string>();
  return (tenant, jurisdiction, model) => {
    const input = cacheSaltInput(tenant, jurisdiction, model);
    const kept = known.get(input);
    if (kept !== undefined) return kept;
    const salt = createHmac("sha256", key).update(input).digest("hex");
    if (known.size >= saltsMax) {
      for (const oldest of known.keys()) {
        known.delete(oldest);
        break;
      }
    }
    known.set(input, salt);
    return salt;
  };
}
