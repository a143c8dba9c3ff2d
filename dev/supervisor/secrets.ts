import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import * as z from "zod";
import { StartError } from "./state-folder.ts";

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const secretsSchema = z.strictObject({
  v: z.literal(1),
  identifierKey: hex64,
  cellSigningKey: hex64,
  cacheSaltKey: hex64,
  healthMacKey: hex64,
  healthToken: z.string().min(20),
  healthReadOnlyToken: z.string().min(20),
  receiptSigningKey: z.strictObject({
    kty: z.literal("OKP"),
    crv: z.literal("Ed25519"),
    kid: z.string().min(1),
    x: z.string(),
    d: z.string(),
  }),
  /** API keys by the name that they stand for: `<jurisdiction>/<tenant>`, or `admin`. */
  apiKeys: z.record(z.string(), z.string()),
});

/** What a local deployment must keep to itself; kept between runs, so that keys and identifiers stay good. */
export type Secrets = z.infer<typeof secretsSchema>;

/** SHA-256 of a whole key, as the topology and the edge know it: 64 hex digits. */
export function keyDigest(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** A new API key of a tenant, with 192 random bits. */
export function newTenantKey(jurisdiction: string, tenant: string): string {
  return `mk_${jurisdiction}_${tenant}_${randomBytes(24).toString("hex")}`;
}

/** A new key for the administrative routes, with 192 random bits. */
export function newAdminKey(): string {
  return `mk_admin_${randomBytes(24).toString("hex")}`;
}

/** Reads the kept secrets or makes new ones. @throws StartError when the file is not one of ours. */
export function loadSecrets(path: string): Secrets {
  if (!existsSync(path)) return generate();
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    value = null;
  }
  const parsed = secretsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new StartError(`${path} cannot be read as the kept secrets. Start once with --fresh.`);
}

/** Keeps the secrets, readable for this user only. */
export function saveSecrets(path: string, secrets: Secrets): void {
  writeFileSync(path, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 });
}

/** The public half of the receipt key, as a member of a JWKS. */
export function receiptPublicKey({ receiptSigningKey }: Secrets): Readonly<Record<string, string>> {
  const { kty, crv, kid, x } = receiptSigningKey;
  return { kty, crv, kid, x, use: "sig", alg: "EdDSA" };
}

function generate(): Secrets {
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const hex = (): string => randomBytes(32).toString("hex");
  return {
    v: 1,
    identifierKey: hex(),
    cellSigningKey: hex(),
    cacheSaltKey: hex(),
    healthMacKey: hex(),
    healthToken: hex(),
    healthReadOnlyToken: hex(),
    // The id is made of the key, so that two state folders never publish one id for two keys.
    receiptSigningKey: {
      kty: "OKP",
      crv: "Ed25519",
      kid: `dev-${keyDigest(x).slice(0, 12)}`,
      x,
      d,
    },
    apiKeys: {},
  };
}
