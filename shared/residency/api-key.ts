/** Characters of a presented credential that are looked at at all; longer ones are refused before any hash. */
export const credentialCharactersMax = 256;

/** The parts of an API key. Nothing is proven until its hash is compared. */
export type ApiKeyParts =
  | { readonly kind: "tenant"; readonly jurisdiction: string; readonly tenant: string }
  | { readonly kind: "admin" };

const tenantKey = /^mk_([a-z][a-z0-9-]{0,31})_([a-z][a-z0-9-]{0,31})_[0-9A-Za-z_-]{20,192}$/;
const adminKey = /^mk_admin_[0-9A-Za-z-]{20,192}$/;

/** Whether a credential is meant as an API key; everything else is taken for a JWT. */
export function looksLikeApiKey(text: string): boolean {
  return text.startsWith("mk_");
}

/** The parts of `mk_<jurisdiction>_<tenant>_<secret>` or `mk_admin_<secret>`; null when it is neither. Linear. */
export function parseApiKey(text: string): ApiKeyParts | null {
  if (text.length > credentialCharactersMax) return null;
  if (adminKey.test(text)) return { kind: "admin" };
  const match = tenantKey.exec(text);
  const [, jurisdiction, tenant] = match ?? [];
  if (jurisdiction === undefined || tenant === undefined) return null;
  return { kind: "tenant", jurisdiction, tenant };
}
