import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StartError } from "./options.ts";

/** Secrets of one development state, made once and kept, so that a second start serves the same keys and ids. */
export interface DevSecrets {
  readonly identifierKey: string;
  readonly cellSigningKey: string;
  readonly cacheSaltKey: string;
  readonly healthMacKey: string;
  readonly healthToken: string;
  readonly healthReadOnlyToken: string;
  readonly receiptKey: { kty: string; crv: string; x: string; d: string; kid: string };
  readonly adminKey: string;
  /** Tenant → API key; filled as tenants appear. */
  readonly tenantKeys: Readonly<Record<string, string>>;
}

const marker = "meridian-state";
const secretsFile = "secrets.json";

function hex(bytes: number): string {
  return randomBytes(bytes).toString("hex");
}

/** A secret for an API key: letters and digits only, so that it pastes anywhere. */
export function keySecret(): string {
  return hex(24);
}

function newSecrets(): DevSecrets {
  const { privateKey } = generateKeyPairSync("ed25519");
  const jwk = privateKey.export({ format: "jwk" });
  const { x = "", d = "" } = jwk;
  return {
    identifierKey: hex(32),
    cellSigningKey: hex(32),
    cacheSaltKey: hex(32),
    healthMacKey: hex(32),
    healthToken: hex(16),
    healthReadOnlyToken: hex(16),
    receiptKey: { kty: "OKP", crv: "Ed25519", x, d, kid: `dev-${hex(4)}` },
    adminKey: `mk_admin_${keySecret()}`,
    tenantKeys: {},
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A folder that this supervisor holds, by a lock file with its pid. */
export interface StateFolder {
  readonly path: string;
  readonly secrets: DevSecrets;
  /** Adds keys for tenants that have none yet and keeps them. */
  keepTenantKeys(keys: Readonly<Record<string, string>>): void;
  /** A file below the folder that only its owner reads. */
  writePrivate(name: string, text: string): string;
  release(): void;
}

/**
 * Opens the state folder and takes its lock.
 * @throws StartError when another instance runs in it, or `--fresh` would remove what is not ours.
 */
export function openStateFolder(path: string, isFresh: boolean): StateFolder {
  const lock = join(path, "supervisor.pid");
  if (existsSync(lock)) {
    const pid = Number(readFileSync(lock, "utf8"));
    if (Number.isInteger(pid) && pid > 0 && pid !== process.pid && isAlive(pid)) {
      throw new StartError(
        `Already running in ${path} (pid ${pid}). Stop it, or use another --state folder.`,
      );
    }
  }
  if (isFresh && existsSync(path)) {
    if (readdirSync(path).length > 0 && !existsSync(join(path, marker))) {
      throw new StartError(
        `--fresh: ${path} is not empty and was not made by npm run dev; remove it yourself.`,
      );
    }
    rmSync(path, { recursive: true, force: true });
  }
  mkdirSync(join(path, "logs"), { recursive: true });
  writeFileSync(join(path, marker), "State of npm run dev. Remove the folder to start afresh.\n");
  writeFileSync(lock, String(process.pid));

  const writePrivate = (name: string, text: string): string => {
    const file = join(path, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  let secrets: DevSecrets;
  const file = join(path, secretsFile);
  if (existsSync(file)) secrets = JSON.parse(readFileSync(file, "utf8")) as DevSecrets;
  else {
    secrets = newSecrets();
    writePrivate(secretsFile, JSON.stringify(secrets, null, 2));
  }
  return {
    path,
    get secrets() {
      return secrets;
    },
    keepTenantKeys(keys) {
      secrets = { ...secrets, tenantKeys: { ...keys, ...secrets.tenantKeys } };
      writePrivate(secretsFile, JSON.stringify(secrets, null, 2));
    },
    writePrivate,
    release() {
      rmSync(lock, { force: true });
      rmSync(join(path, "dev.json"), { force: true });
    },
  };
}

/** Adds a public receipt key to a JWKS file, keeping the others: receipts of earlier states stay verifiable. */
export function publishReceiptKey(folder: string, key: DevSecrets["receiptKey"]): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "receipt-keys.json");
  let keys: { kid?: string }[] = [];
  if (existsSync(file)) {
    try {
      const value = JSON.parse(readFileSync(file, "utf8")) as { keys?: { kid?: string }[] };
      keys = Array.isArray(value.keys) ? value.keys.filter((other) => other.kid !== key.kid) : [];
    } catch {
      // A file that is no JWKS is written anew.
    }
  }
  const { kty, crv, x, kid } = key;
  writeFileSync(
    file,
    `${JSON.stringify({ keys: [...keys.slice(-31), { kty, crv, x, kid }] }, null, 2)}\n`,
  );
}
