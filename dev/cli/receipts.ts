import { createHash, createPublicKey, verify } from "node:crypto";
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

interface PublicKey {
  readonly kid: string;
  readonly x: string;
}

function readKeys(text: string): readonly PublicKey[] {
  const value = JSON.parse(text) as { keys?: unknown };
  if (!Array.isArray(value.keys)) throw new TypeError("not a JWKS");
  return value.keys.flatMap((key: Record<string, unknown>) =>
    key["crv"] === "Ed25519" && typeof key["kid"] === "string" && typeof key["x"] === "string"
      ? [{ kid: key["kid"], x: key["x"] }]
      : [],
  );
}

function describe(receipt: ChainedReceipt): readonly string[] {
  const hops = receipt.hops.map((hop, index) => {
    const { kind, jurisdiction } = hop;
    const where = "id" in hop ? `${hop.id} (${hop.region})` : "region" in hop ? hop.region : "";
    const pin = hop.kind === "object" ? `pin ${hop.pin}, ${hop.mode}` : "";
    const colo = hop.kind === "worker" && hop.colo !== null ? `colo ${hop.colo}` : "";
    return `  ${index + 1}. ${kind.padEnd(9)} ${jurisdiction.padEnd(8)} ${where}${pin}${colo}`.trimEnd();
  });
  const rejected = receipt.rejected.map(({ id, reason }) => `  not used: ${id} (${reason})`);
  return [
    "The receipt is valid.",
    `request       ${receipt.requestId}`,
    `issued        ${new Date(receipt.issuedAtMs).toISOString()}`,
    `jurisdiction  ${receipt.jurisdiction}`,
    `signed by     ${receipt.keyId}`,
    "hops, each chained to the one before:",
    ...hops,
    ...rejected,
  ];
}

/** `receipts verify`: 0 when it verifies, 1 with the reason when not, 2 for wrong usage. */
export async function runReceiptsCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const [verb, file, ...rest] = args;
  const hasKeys = rest.length === 2 && rest[0] === "--keys";
  if (verb !== "verify" || file === undefined || (rest.length > 0 && !hasKeys)) {
    io.error(receiptsUsage);
    return 2;
  }
  const keysFile =
    (hasKeys ? rest[1] : io.environment["MERIDIAN_RECEIPT_KEYS"]) ??
    join(io.folder, ".meridian", "receipt-keys.json");
  let keys: readonly PublicKey[];
  try {
    keys = readKeys(readFileSync(keysFile, "utf8"));
  } catch {
    io.error(`No public keys could be read from ${keysFile}. Give a JWKS with --keys FILE.`);
    return 2;
  }
  let text: string;
  try {
    text = file === "-" ? io.readStandardInput() : readFileSync(file, "utf8");
  } catch {
    io.error(`${file} cannot be read.`);
    return 2;
  }
  const parts = splitReceipt(text.trim().replace(/^x-meridian-receipt:\s*/i, ""));
  if (parts === null) {
    io.error("The receipt does not verify: malformed (not <payload>.<signature>)");
    return 1;
  }
  const payload = Buffer.from(parts.payload, "base64url");
  const verdict = await verifyReceipt(
    payload.toString("utf8"),
    async (keyId) => {
      const known = keys.filter((key) => key.kid === keyId);
      if (known.length === 0) return null;
      return known.some(({ x }) => {
        const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
        return verify(null, payload, key, Buffer.from(parts.signature, "base64url"));
      });
    },
    async (value) => createHash("sha256").update(value).digest("hex"),
  );
  if (verdict.ok) {
    for (const line of describe(verdict.receipt)) io.out(line);
    return 0;
  }
  io.error(`The receipt does not verify: ${verdict.problem} (${verdict.detail})`);
  return 1;
}
