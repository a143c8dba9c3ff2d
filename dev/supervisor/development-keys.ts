import type { TopologyFile } from "./topology-file.ts";
import { keyDigest, newAdminKey, newTenantKey } from "./secrets.ts";
import { StartError } from "./state-folder.ts";

/** Keys that work against a local deployment, and what the edge needs to know of them. */
export interface DevelopmentKeys {
  /** The topology with a tenant for each jurisdiction and an administrator. */
  readonly file: TopologyFile;
  /** A key per jurisdiction. */
  readonly keys: Readonly<Record<string, string>>;
  readonly adminKey: string;
  /** Every key that was made, to be kept. */
  readonly kept: Readonly<Record<string, string>>;
  /** Values of the `env:NAME` variables that hold digests. */
  readonly digests: Readonly<Record<string, string>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Makes the keys that the topology asks for and does not hold. A digest that `environment` gives is used as it is; one
 * that it lacks becomes that of a new key. A jurisdiction whose tenants all have digests of foreign keys gets a tenant
 * `dev-<jurisdiction>`, since a key cannot be read from its digest. Kept keys are used again.
 * @throws StartError when a given digest is not 64 hex digits.
 */
export function makeDevelopmentKeys(
  file: TopologyFile,
  environment: Environment,
  kept: Readonly<Record<string, string>>,
): DevelopmentKeys {
  const made = new Map(Object.entries(kept));
  const digests: Record<string, string> = {};
  const keys: Record<string, string> = {};
  const tenants = { ...file.tenants };

  function keyFor(name: string, create: () => string): string {
    const key = made.get(name) ?? create();
    made.set(name, key);
    return key;
  }
  /** The key whose digest goes into the first variable without a value; null when none is free. */
  function fill(references: readonly string[], name: string, create: () => string): string | null {
    let own: string | null = null;
    for (const reference of references) {
      if (!reference.startsWith("env:")) continue;
      const variable = reference.slice("env:".length);
      const given = environment[variable];
      if (given !== undefined && given !== "") {
        digests[variable] = checkDigest(variable, given);
        continue;
      }
      // The second key of a rotation that has not begun: a digest of nothing that anybody holds.
      const key: string = own === null ? keyFor(name, create) : keyFor(`${name}/next`, create);
      digests[variable] = keyDigest(key);
      own ??= key;
    }
    return own;
  }

  for (const [tenant, { jurisdiction, keys: entries }] of Object.entries(file.tenants)) {
    const name = `${jurisdiction}/${tenant}`;
    const create = (): string => newTenantKey(jurisdiction, tenant);
    const plain = entries.filter((entry) => typeof entry === "string");
    const named = entries.filter((entry) => typeof entry !== "string");
    const ofTenant = [
      fill(plain, name, create),
      ...named.map(({ id, digests: references }) => fill(references, `${name}/${id}`, create)),
    ];
    const key = ofTenant.find((each) => each !== null);
    if (key !== undefined) keys[jurisdiction] ??= key;
  }
  for (const jurisdiction of Object.keys(file.jurisdictions)) {
    if (keys[jurisdiction] !== undefined) continue;
    const tenant = `dev-${jurisdiction}`.slice(0, 32);
    const key = keyFor(`${jurisdiction}/${tenant}`, () => newTenantKey(jurisdiction, tenant));
    keys[jurisdiction] = key;
    tenants[tenant] = { jurisdiction, priority: "interactive", keys: [`sha256:${keyDigest(key)}`] };
  }
  const adminReferences = file.admin?.keys ?? [];
  const filled = fill(adminReferences, "admin", newAdminKey);
  const adminKey = filled ?? keyFor("admin", newAdminKey);
  const admin =
    filled === null
      ? { keys: [`sha256:${keyDigest(adminKey)}`, ...adminReferences].slice(0, 2) }
      : { keys: adminReferences };
  return {
    file: { ...file, tenants, admin },
    keys,
    adminKey,
    kept: Object.fromEntries(made),
    digests,
  };
}

function checkDigest(variable: string, value: string): string {
  if (/^[0-9a-f]{64}$/.test(value)) return value;
  throw new StartError(
    `${variable}: got a text of ${value.length} characters, wanted the SHA-256 of a key as 64 lower-case hex digits (npm run meridian -- keys new prints one).`,
  );
}
