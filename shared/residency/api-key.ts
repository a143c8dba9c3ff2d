/** Characters of a presented API key that are looked at at all; longer ones are refused before any hash. */
export const apiKeyCharactersMax = 256;

/** The parts of an API key. Nothing is proven until its hash is compared. */
export type ApiKeyParts =
  | { readonly kind: "tenant"; readonly jurisdiction: string; readonly tenant: string }
  | { readonly kind: "admin" };

const tenantKey = /^mk_([a-z][a-z0-9-]{0,31})_([a-z][a-z0-9-]{0,31})_[0-9A-Za-z_-]{20,}$/;
const adminKey = /^mk_admin_[0-9A-Za-z_-]{20,}$/;

/**
 * The parts of `mk_<jurisdiction>_<tenant>_<secret>` or `mk_admin_<secret>`, where a secret has at least 20 characters of
 * `0-9A-Za-z_-`; null when it is neither, anything outside ASCII included. What begins with `mk_admin_` is never a
 * tenant's key, whatever jurisdictions there are. Linear.
 */
export function parseApiKey(text: string): ApiKeyParts | null {
  if (text.length > apiKeyCharactersMax) return null;
  if (text.startsWith("mk_admin_")) return adminKey.test(text) ? { kind: "admin" } : null;
  const match = tenantKey.exec(text);
  const [, jurisdiction, tenant] = match ?? [];
  if (jurisdiction === undefined || tenant === undefined) return null;
  return { kind: "tenant", jurisdiction, tenant };
}
