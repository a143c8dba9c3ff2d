import { createHash, createPublicKey, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { splitReceipt, verifyReceipt } from "#shared/residency/receipt.ts";
import type { ChainedReceipt } from "#shared/residency/receipt.ts";

/** Where a command reads and writes; exit codes are returned, so that tests need no process. */
export interface CommandIo {
  readonly readStandardInput: () => string;
  readonly out: (line: string) => void;
  readonly error: (line: string) => void;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly folder: string;
}

export const receiptsUsage = `meridian receipts verify FILE|- [--keys FILE]
  Checks the value of an x-meridian-receipt header, from a file or from standard input (-), offline.
  Public keys: --keys FILE (a JWKS), else $MERIDIAN_RECEIPT_KEYS, else .meridian/receipt-keys.json`;

/** The Ed25519 keys of a JWKS with their ids; others are left out. @throws when the text is no JWKS. */
function readKeys(text: string): readonly { readonly kid: string; readonly key: KeyObject }[] {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || !("keys" in value))
    throw new TypeError("not a JWKS");
  if (!Array.isArray(value.keys)) throw new TypeError("not a JWKS");
  return value.keys.flatMap((entry: unknown) => {
    if (typeof entry !== "object" || entry === null) return [];
    const { crv, kid, x } = entry as Readonly<Record<string, unknown>>;
    if (crv !== "Ed25519" || typeof kid !== "string" || typeof x !== "string") return [];
    if (decodeBase64url(x)?.length !== 32) return [];
    return [{ kid, key: createPublicKey({ key: { kty: "OKP", crv, x }, format: "jwk" }) }];
  });
}

/** Bytes of base64url in its one canonical spelling, else null: Buffer takes almost anything. */
function decodeBase64url(text: string): Buffer | null {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : null;
}

function describeHop(hop: ChainedReceipt["hops"][number]): string {
  switch (hop.kind) {
    case "worker":
      return [hop.hostname, hop.colo === null ? null : `colo ${hop.colo}`]
        .filter((part) => part !== null)
        .join(", ");
    case "object":
      return `pinned to ${hop.pin}${hop.mode === "enforce" ? "" : ` (${hop.mode}d, not enforced by the platform)`}`;
    case "cell":
      return `${hop.id} in ${hop.region}`;
    case "shard": {
      const model = hop.model === null ? "" : `, ${hop.model} @ ${hop.revision ?? "?"}`;
      return `${hop.id} in ${hop.region}${model}`;
    }
    case "database":
      return hop.region;
  }
}

function describe(receipt: ChainedReceipt): readonly string[] {
  const rows = receipt.hops.map((hop) => [hop.kind, hop.jurisdiction, describeHop(hop)] as const);
  const widthOf = (column: 0 | 1): number => Math.max(...rows.map((row) => row[column].length));
  const [kindWidth, jurisdictionWidth] = [widthOf(0), widthOf(1)];
  const hops = rows.map(([kind, jurisdiction, text], index) =>
    `  ${index + 1}  ${kind.padEnd(kindWidth)}  ${jurisdiction.padEnd(jurisdictionWidth)}  ${text}`.trimEnd(),
  );
  const { rejected, rejectedCount } = receipt;
  const unlisted = rejectedCount - rejected.length;
  const facts: readonly (readonly [string, string | null])[] = [
    ["request", receipt.requestId],
    ["issued", new Date(receipt.issuedAtMs).toISOString()],
    ["jurisdiction", receipt.jurisdiction],
    ["tenant tag", receipt.tenantTag],
    ["api", receipt.api],
    ["outcome", receipt.outcome],
    ["signed by", receipt.keyId],
  ];
  return [
    "The receipt is valid: every hop was in the required jurisdiction.",
    ...facts
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name.padEnd(13)} ${value}`),
    "hops, each chained to the one before:",
    ...hops,
    ...(rejectedCount === 0 ? [] : ["not used:"]),
    ...rejected.map(({ id, reason }) => `  ${id}: ${reason}`),
    ...(unlisted > 0 ? [`  and ${unlisted} more`] : []),
  ].map(printable);
}

/** Control characters could move a terminal's cursor and make a line say something else. */
function printable(line: string): string {
  return line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\u{fffd}");
}

interface Arguments {
  readonly file: string;
  readonly keysFile: string | null;
}

/** `verify FILE` with `--keys FILE` before or after it; null for anything else. */
function readArguments(args: readonly string[]): Arguments | null {
  const [verb, ...rest] = args;
  if (verb !== "verify") return null;
  const at = rest.indexOf("--keys");
  const keysFile = at === -1 ? null : rest[at + 1];
  const others = at === -1 ? rest : rest.toSpliced(at, 2);
  const [file] = others;
  if (keysFile === undefined || keysFile === "" || others.length !== 1 || file === undefined)
    return null;
  return file === "-" || !file.startsWith("-") ? { file, keysFile } : null;
}

/** `receipts verify`: 0 when it verifies, 1 with the reason when not, 2 when there is nothing to judge: wrong usage, no keys. */
export async function runReceiptsCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const given = readArguments(args);
  if (given === null) {
    io.error(receiptsUsage);
    return 2;
  }
  const keysFile =
    given.keysFile ??
    io.environment["MERIDIAN_RECEIPT_KEYS"] ??
    join(io.folder, ".meridian", "receipt-keys.json");
  let keys: ReturnType<typeof readKeys>;
  try {
    keys = readKeys(readFileSync(keysFile, "utf8"));
  } catch {
    io.error(`No public keys could be read from ${keysFile}. Give a JWKS with --keys FILE.`);
    return 2;
  }
  let text: string;
  try {
    text = given.file === "-" ? io.readStandardInput() : readFileSync(given.file, "utf8");
  } catch {
    io.error(`${given.file} cannot be read.`);
    return 2;
  }
  const fail = (reason: string): number => {
    io.error(printable(`The receipt does not verify: ${reason}`));
    return 1;
  };
  const parts = splitReceipt(text.trim().replace(/^x-meridian-receipt:\s*/i, ""));
  const payload = decodeBase64url(parts?.payload ?? "");
  const signature = decodeBase64url(parts?.signature ?? "");
  if (parts === null || payload === null || signature === null)
    return fail("malformed (not <payload>.<signature> in base64url)");
  const verdict = await verifyReceipt(
    payload.toString("latin1"),
    async (keyId) => {
      const known = keys.filter(({ kid }) => kid === keyId);
      return known.length === 0
        ? null
        : known.some(({ key }) => verify(null, payload, key, signature));
    },
    async (value) => createHash("sha256").update(value).digest("hex"),
  );
  if (!verdict.ok) return fail(`${verdict.problem} (${verdict.detail})`);
  for (const line of describe(verdict.receipt)) io.out(line);
  return 0;
}
