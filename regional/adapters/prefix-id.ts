import { createHmac } from "node:crypto";

/**
 * The name under which a provider's router knows a conversation: hex HMAC-SHA-256, 64 digits, under the cell's key. It tells
 * calls of one conversation from others and nothing else, and no two tenants share one.
 * @param keyHex 64 hex digits.
 */
export function createPrefixId(keyHex: string): (tenant: string, affinityKey: string) => string {
  const key = Buffer.from(keyHex, "hex");
  return (tenant, affinityKey) =>
    createHmac("sha256", key).update(`prefix;v1;${tenant};${affinityKey}`).digest("hex");
}
