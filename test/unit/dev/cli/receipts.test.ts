import { createHash, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { receiptsUsage, runReceiptsCommand } from "#dev/cli/receipts.ts";
import { canonicalJson, chainReceipt } from "#shared/residency/receipt.ts";
import type { ReceiptRecord } from "#shared/residency/receipt.ts";

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const stranger = generateKeyPairSync("ed25519");

function jwks(key: KeyObject, kid: string): string {
  return JSON.stringify({ keys: [{ ...key.export({ format: "jwk" }), kid }] });
}

const record: ReceiptRecord = {
  v: 1,
  keyId: "test-1",
  requestId: "req_1",
  issuedAtMs: 1_780_000_000_000,
  jurisdiction: "eu",
  tenantTag: "AbCd1234",
  api: "/v1/chat/completions",
  outcome: "ok",
  hops: [
    { kind: "worker", jurisdiction: "eu", hostname: "eu.example.com", colo: "DUB" },
    { kind: "object", jurisdiction: "eu", pin: "eu", mode: "enforce" },
    { kind: "cell", jurisdiction: "eu", id: "eu-west-1a", region: "eu-west-1" },
    {
      kind: "shard",
      jurisdiction: "eu",
      id: "eu-west-1a/llama-0",
      region: "eu-west-1",
      model: "llama",
      revision: "r1",
    },
    { kind: "database", jurisdiction: "eu", region: "eu-west-1" },
  ],
  rejected: [{ id: "eu-central-1a", reason: "full" }],
};

const chain = (changes: Partial<ReceiptRecord> = {}): Promise<string> =>
  chainReceipt({ ...record, ...changes }, async (text) =>
    createHash("sha256").update(text).digest("hex"),
  );

function seal(json: string, key: KeyObject = privateKey): string {
  const bytes = Buffer.from(json);
  return `${bytes.toString("base64url")}.${sign(null, bytes, key).toString("base64url")}`;
}

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "receipts-"));
  mkdirSync(join(folder, ".meridian"));
  writeFileSync(join(folder, ".meridian", "receipt-keys.json"), jwks(publicKey, "test-1"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

async function run(
  args: readonly string[],
  input = "",
  environment: Readonly<Record<string, string>> = {},
) {
  const out: string[] = [];
  const errors: string[] = [];
  const code = await runReceiptsCommand(args, {
    readStandardInput: () => input,
    out: (line) => out.push(line),
    error: (line) => errors.push(line),
    environment,
    folder,
  });
  return { code, out: out.join("\n"), error: errors.join("\n") };
}

const verifyInput = (input: string) => run(["verify", "-"], input);

describe("a receipt that verifies", () => {
  it("is shown hop by hop, exit 0", async () => {
    const { code, out, error } = await verifyInput(seal(await chain()));
    expect([code, error]).toEqual([0, ""]);
    expect(out).toBe(
      [
        "The receipt is valid: every hop was in the required jurisdiction.",
        "request       req_1",
        "issued        2026-05-28T20:26:40.000Z",
        "jurisdiction  eu",
        "tenant tag    AbCd1234",
        "api           /v1/chat/completions",
        "outcome       ok",
        "signed by     test-1",
        "hops, each chained to the one before:",
        "  1  worker    eu  eu.example.com, colo DUB",
        "  2  object    eu  pinned to eu",
        "  3  cell      eu  eu-west-1a in eu-west-1",
        "  4  shard     eu  eu-west-1a/llama-0 in eu-west-1, llama @ r1",
        "  5  database  eu  eu-west-1",
        "not used:",
        "  eu-central-1a: full",
      ].join("\n"),
    );
  });

  it.each(["", "  \n", "x-meridian-receipt: ", "X-Meridian-Receipt:", "\r\nx-meridian-receipt:\t"])(
    "may stand after %j and before white space",
    async (before) => {
      const value = seal(await chain());
      expect((await verifyInput(`${before}${value} \r\n`)).code).toBe(0);
    },
  );

  it("is read from a file too, with keys named before or after it", async () => {
    const file = join(folder, "receipt.txt");
    const keys = join(folder, "keys.json");
    rmSync(join(folder, ".meridian"), { recursive: true });
    writeFileSync(file, seal(await chain()));
    writeFileSync(keys, jwks(publicKey, "test-1"));
    expect((await run(["verify", file, "--keys", keys])).code).toBe(0);
    expect((await run(["verify", "--keys", keys, file])).code).toBe(0);
    expect((await run(["verify", file], "", { MERIDIAN_RECEIPT_KEYS: keys })).code).toBe(0);
    const bad = { MERIDIAN_RECEIPT_KEYS: join(folder, "none.json") };
    expect((await run(["verify", file, "--keys", keys], "", bad)).code).toBe(0);
    expect((await run(["verify", file], "", bad)).code).toBe(2);
  });

  it("says when objects were not pinned by the platform, and what does not fit", async () => {
    const hop = { kind: "object", jurisdiction: "eu", pin: "eu", mode: "emulate" } as const;
    const rejected = Array.from({ length: 20 }, () => ({ id: "eu-west-1a/x", reason: "full" }));
    const { out } = await verifyInput(seal(await chain({ hops: [hop], rejected })));
    expect(out).toContain("pinned to eu (emulated, not enforced by the platform)");
    expect(out).toContain("  and 4 more");
  });

  it("cannot move the cursor of a terminal", async () => {
    const { code, out } = await verifyInput(seal(await chain({ outcome: "ok\u001b[2J\u202e\nx" })));
    expect(code).toBe(0);
    expect(out).toContain("outcome       ok\u{fffd}[2J\u{fffd}\u{fffd}x");
  });
});

describe("a receipt that does not verify", () => {
  it("is one that somebody else signed", async () => {
    const { code, out, error } = await verifyInput(seal(await chain(), stranger.privateKey));
    expect([code, out]).toEqual([1, ""]);
    expect(error).toBe("The receipt does not verify: bad signature (test-1)");
  });

  it("is one that was changed", async () => {
    const [payload = "", signature = ""] = seal(await chain()).split(".");
    const json = Buffer.from(payload, "base64url").toString().replace('"req_1"', '"req_2"');
    const { code, error } = await verifyInput(
      `${Buffer.from(json).toString("base64url")}.${signature}`,
    );
    expect([code, error]).toEqual([1, "The receipt does not verify: bad signature (test-1)"]);
  });

  it("is one whose key is not published", async () => {
    const { code, error } = await verifyInput(seal(await chain({ keyId: "test-9" })));
    expect([code, error]).toEqual([1, "The receipt does not verify: unknown key (test-9)"]);
  });

  it("is one that leaves a hop out, although it is signed", async () => {
    const receipt = JSON.parse(await chain()) as { hops: unknown[] };
    const [worker, , ...rest] = receipt.hops;
    const { code, error } = await verifyInput(
      seal(canonicalJson({ ...receipt, hops: [worker, ...rest] })),
    );
    expect([code, error]).toEqual([1, "The receipt does not verify: broken chain (at hop 2)"]);
  });

  it("is one that went abroad", async () => {
    const hops = record.hops.map((hop) =>
      hop.kind === "database" ? { ...hop, jurisdiction: "us" } : hop,
    );
    const { code, error } = await verifyInput(seal(await chain({ hops })));
    expect([code, error]).toEqual([
      1,
      "The receipt does not verify: a hop is outside the required jurisdiction (hop 5 (database) is in us, required eu)",
    ]);
  });

  it("is one spelled in another way, though it decodes to the same bytes", async () => {
    const value = seal(await chain());
    const last = value.at(-1) ?? "";
    // The last of 86 characters holds 2 bits of the signature and 4 that mean nothing.
    const other = String.fromCharCode(last.charCodeAt(0) + 1);
    expect(Buffer.from(`${value.slice(-86, -1)}${other}`, "base64url")).toEqual(
      Buffer.from(value.slice(-86), "base64url"),
    );
    const { code, error } = await verifyInput(value.slice(0, -1) + other);
    expect([code, error]).toEqual([
      1,
      "The receipt does not verify: malformed (not <payload>.<signature> in base64url)",
    ]);
  });

  it.each(["", "\n", "hello", "a.b", `.${"A".repeat(86)}`, "x".repeat(1_000_000), "\u0000"])(
    "is none at all: %j",
    async (text) => {
      const { code, error } = await verifyInput(text);
      expect(code).toBe(1);
      expect(error).toMatch(/^The receipt does not verify: malformed/);
    },
  );

  it("is one of bytes that are no receipt, although they are signed", async () => {
    for (const json of ["{}", "null", "\u0000", "é"])
      expect((await verifyInput(seal(json))).error).toContain("malformed");
  });
});

describe("wrong usage", () => {
  it.each([
    [],
    ["verify"],
    ["check", "-"],
    ["verify", "-", "more"],
    ["verify", "-", "--keys"],
    ["verify", "--keys", "k"],
    ["verify", "--help"],
    ["verify", "-", "--key", "k"],
  ])("is answered with the usage and exit 2: %j", async (...args) => {
    const given = args.filter((arg) => arg !== undefined);
    expect(await run(given)).toEqual({ code: 2, out: "", error: receiptsUsage });
  });

  it("names a file that cannot be read", async () => {
    const file = join(folder, "none.txt");
    expect(await run(["verify", file])).toMatchObject({
      code: 2,
      error: `${file} cannot be read.`,
    });
  });

  it.each(["", "no JSON", "[]", '{"keys":5}', "null"])(
    "names a key file that is none: %j",
    async (text) => {
      const file = join(folder, ".meridian", "receipt-keys.json");
      writeFileSync(file, text);
      const { code, error } = await run(["verify", "-"], seal(await chain()));
      expect([code, error]).toEqual([
        2,
        `No public keys could be read from ${file}. Give a JWKS with --keys FILE.`,
      ]);
    },
  );

  it("leaves keys of other kinds and lengths out of account", async () => {
    const own = { ...publicKey.export({ format: "jwk" }), kid: "test-1" };
    const keys = [null, 5, { kid: "test-1" }, { ...own, crv: "X25519" }, { ...own, x: "AA" }];
    const file = join(folder, ".meridian", "receipt-keys.json");
    const value = seal(await chain());
    writeFileSync(file, JSON.stringify({ keys }));
    expect((await run(["verify", "-"], value)).error).toContain("unknown key (test-1)");
    writeFileSync(file, JSON.stringify({ keys: [...keys, own] }));
    expect((await run(["verify", "-"], value)).code).toBe(0);
  });
});
