import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Public keys that a file of receipt keys holds at most; the oldest go. */
const publicKeysMax = 16;

/**
 * Adds a public key to a JWKS file, where `npm run meridian -- receipts verify` looks for it. Keys of earlier state
 * folders stay, so that their receipts still verify.
 */
export function addReceiptKey(path: string, key: Readonly<Record<string, string>>): void {
  const others = readKeys(path).filter((known) => known["kid"] !== key["kid"]);
  const keys = [key, ...others].slice(0, publicKeysMax);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify({ keys }, null, 2)}\n`, { mode: 0o600 });
}

function readKeys(path: string): readonly Readonly<Record<string, unknown>>[] {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value !== "object" || value === null || !("keys" in value)) return [];
    return Array.isArray(value.keys) ? value.keys.filter(isRecord) : [];
  } catch {
    // No file yet, or not one of ours: it is written anew.
    return [];
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
