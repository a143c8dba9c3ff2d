import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  canonicalJson,
  chainReceipt,
  receiptCharactersMax,
  receiptRejectedMax,
  splitReceipt,
  verifyReceipt,
} from "#shared/residency/receipt.ts";
import type { ReceiptHop, ReceiptRecord } from "#shared/residency/receipt.ts";

const sha256 = async (text: string): Promise<string> =>
  createHash("sha256").update(text).digest("hex");
const signed = async (): Promise<boolean> => true;

const hops: readonly ReceiptHop[] = [
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
];

function aRecord(changes: Partial<ReceiptRecord> = {}): ReceiptRecord {
  return {
    v: 1,
    keyId: "test-1",
    requestId: "req_0123456789abcdef",
    issuedAtMs: 1_780_000_000_000,
    jurisdiction: "eu",
    tenantTag: "AbCd1234",
    api: "/v1/chat/completions",
    outcome: "ok",
    hops,
    rejected: [{ id: "eu-central-1a", reason: "breakerOpen" }],
    ...changes,
  };
}

/** Length of the header's value: base64url of the JSON, a dot, 86 characters of signature. */
function headerLength(json: string): number {
  return Math.ceil((json.length * 4) / 3) + 1 + 86;
}

function verify(json: string, check: () => Promise<boolean | null> = signed) {
  return verifyReceipt(json, check, sha256);
}

describe("a receipt", () => {
  it("verifies and says what was put into it, with every hop chained to the one before", async () => {
    const verdict = await verify(await chainReceipt(aRecord(), sha256));
    expect(verdict.ok && verdict.receipt).toMatchObject({ ...aRecord(), rejectedCount: 1 });
    const chained = verdict.ok ? verdict.receipt.hops : [];
    for (const [index, hop] of chained.slice(1).entries())
      expect(hop.previous).toBe(await sha256(canonicalJson(chained[index])));
  });

  it("may say as little as the Worker knows", async () => {
    const hop: ReceiptHop = { kind: "worker", jurisdiction: "eu", hostname: null, colo: null };
    const record = aRecord({
      hops: [hop],
      rejected: [],
      tenantTag: null,
      api: null,
      outcome: null,
    });
    expect(await verify(await chainReceipt(record, sha256))).toMatchObject({ ok: true });
  });

  it.each(hops.map((hop, index) => [index + 1, hop.kind] as const))(
    "does not verify when hop %i (%s) was elsewhere, and says which",
    async (number, kind) => {
      const moved = hops.map((hop, index) =>
        index + 1 === number ? { ...hop, jurisdiction: "us" } : hop,
      );
      expect(await verify(await chainReceipt(aRecord({ hops: moved }), sha256))).toEqual({
        ok: false,
        problem: "a hop is outside the required jurisdiction",
        detail: `hop ${number} (${kind}) is in us, required eu`,
      });
    },
  );

  it("does not verify after a hop is taken out, swapped or changed, even if it is signed again", async () => {
    const receipt = JSON.parse(await chainReceipt(aRecord(), sha256)) as {
      hops: Record<string, unknown>[];
    };
    const [worker, object, cell, shard, database] = receipt.hops;
    const broken = async (changed: unknown[], at: number): Promise<void> => {
      expect(await verify(canonicalJson({ ...receipt, hops: changed }))).toEqual({
        ok: false,
        problem: "broken chain",
        detail: `at hop ${at}`,
      });
    };
    await broken([object, cell, shard, database], 1);
    await broken([worker, cell, shard, database], 2);
    await broken([worker, object, cell, database], 4);
    await broken([worker, cell, object, shard, database], 2);
    await broken([worker, object, { ...cell, region: "eu-central-1" }, shard, database], 4);
  });

  it.each([
    ["requestId", "req_other"],
    ["issuedAtMs", 1_780_000_000_001],
    ["tenantTag", null],
    ["api", "/v1/embeddings"],
    ["outcome", "saturated"],
    ["keyId", "test-2"],
    ["rejected", []],
    ["rejectedCount", 2],
  ])(
    "does not verify after its %s is changed, even if it is signed again",
    async (field, value) => {
      const receipt = JSON.parse(await chainReceipt(aRecord(), sha256)) as object;
      expect(await verify(canonicalJson({ ...receipt, [field]: value }))).toMatchObject({
        problem: "broken chain",
        detail: "at hop 1",
      });
    },
  );

  it("names an unknown key before a bad signature, and both before the chain", async () => {
    const json = (await chainReceipt(aRecord(), sha256)).replace("eu-central-1a", "xx-central-1a");
    expect(await verify(json, async () => null)).toMatchObject({ problem: "unknown key" });
    expect(await verify(json, async () => false)).toMatchObject({ problem: "bad signature" });
    expect(await verify(json)).toMatchObject({ problem: "broken chain" });
  });

  it("asks for the key that it names", async () => {
    const asked: string[] = [];
    await verifyReceipt(
      await chainReceipt(aRecord({ keyId: "of 2026" }), sha256),
      async (keyId) => {
        asked.push(keyId);
        return true;
      },
      sha256,
    );
    expect(asked).toEqual(["of 2026"]);
  });
});

describe("malformed", () => {
  it.each([
    "",
    "null",
    "[]",
    "{}",
    '{"v":1}',
    "[".repeat(3000),
    "\u0000",
    '{"v":1,"__proto__":{}}',
  ])("is the word for %j", async (json) => {
    expect(await verify(json)).toMatchObject({ ok: false, problem: "malformed" });
  });

  it.each([
    ["another version", { v: 2 }, "at v"],
    ["an unknown field", { more: 1 }, "at the root"],
    ["no hop", { hops: [] }, "at hops"],
    [
      "a hop of an unknown kind",
      { hops: [{ kind: "moon", jurisdiction: "eu" }] },
      "at hops.0.kind",
    ],
    ["a time out of range", { issuedAtMs: 1e300 }, "at issuedAtMs"],
    ["a field of the wrong type", { requestId: 5 }, "at requestId"],
    ["a long field", { requestId: "r".repeat(129) }, "at requestId"],
  ])("is the word for %s, with the place", async (_name, change, detail) => {
    const receipt = JSON.parse(await chainReceipt(aRecord(), sha256)) as object;
    const verdict = await verify(canonicalJson({ ...receipt, ...change }));
    expect(verdict).toEqual({ ok: false, problem: "malformed", detail });
  });

  it("is the word for JSON that is spelled in another way", async () => {
    const json = await chainReceipt(aRecord(), sha256);
    for (const other of [
      ` ${json}`,
      JSON.stringify(JSON.parse(json), null, 1),
      json.replace('"outcome":"ok"', '"outcome":"ok","outcome":"ok"'),
      json.replace('"outcome":"ok"', '"outcome":"\\u006fk"'),
    ])
      expect(await verify(other)).toMatchObject({ detail: "the signed part is not canonical" });
  });
});

describe("the size of a receipt", () => {
  it("is under 4 KiB as a header with a full topology's names and 16 rejections", async () => {
    const rejected = Array.from({ length: 40 }, (_, index) => ({
      id: `eu-west-1a/llama-${index}`,
      reason: "breakerOpen",
    }));
    const json = await chainReceipt(aRecord({ rejected }), sha256);
    const verdict = await verify(json);
    expect(headerLength(json)).toBeLessThan(receiptCharactersMax);
    expect(verdict.ok && [verdict.receipt.rejected.length, verdict.receipt.rejectedCount]).toEqual([
      receiptRejectedMax,
      40,
    ]);
  });

  it("leaves out the last rejections when their texts are long, and counts them", async () => {
    const rejected = Array.from({ length: 16 }, (_, index) => ({
      id: `${String.fromCharCode(97 + index)}${"é".repeat(200)}`,
      reason: "full",
    }));
    const json = await chainReceipt(aRecord({ rejected }), sha256);
    expect(headerLength(json)).toBeLessThanOrEqual(receiptCharactersMax);
    const verdict = await verify(json);
    expect(verdict.ok && verdict.receipt.rejectedCount).toBe(16);
    const listed = verdict.ok ? verdict.receipt.rejected : [];
    expect(listed.map(({ id }) => id.length)).toEqual(listed.map(() => 128));
    expect(listed[0]?.id.startsWith("a")).toBe(true);
    expect(listed.length).toBeLessThan(4);
  });

  it("stays so, and the receipt verifies, for any text in any field", async () => {
    const text = fc.string({ unit: "binary", maxLength: 400 });
    const aHop: fc.Arbitrary<ReceiptHop> = fc.oneof(
      fc.record({
        kind: fc.constant("worker" as const),
        jurisdiction: fc.constant("eu"),
        hostname: fc.option(text),
        colo: fc.option(text),
      }),
      fc.record({
        kind: fc.constant("cell" as const),
        jurisdiction: fc.constant("eu"),
        id: text,
        region: text,
      }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(aHop, { minLength: 1, maxLength: 1 }),
        fc.array(fc.record({ id: text, reason: text }), { maxLength: 20 }),
        async (anyHops, rejected) => {
          const json = await chainReceipt(aRecord({ hops: anyHops, rejected }), sha256);
          expect(json).toMatch(/^[\u0020-\u007e]*$/);
          expect(headerLength(json)).toBeLessThanOrEqual(receiptCharactersMax);
          expect(await verify(json)).toMatchObject({ ok: true });
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("splitReceipt", () => {
  const signature = "s".repeat(86);
  it("parts payload and signature", () => {
    expect(splitReceipt(`abc_-.${signature}`)).toEqual({ payload: "abc_-", signature });
  });
  it("takes 4,096 characters and not one more", () => {
    const text = (length: number): string => `${"p".repeat(length - 87)}.${signature}`;
    expect(splitReceipt(text(receiptCharactersMax))).not.toBeNull();
    expect(splitReceipt(text(receiptCharactersMax + 1))).toBeNull();
  });
  it.each([
    "",
    ".",
    signature,
    `.${signature}`,
    `abc.${signature}.x`,
    `abc.${signature}s`,
    `abc.${signature.slice(1)}`,
    `a+b.${signature}`,
    `abc=.${signature}`,
    `abc.${signature}\n`,
    ` abc.${signature}`,
  ])("refuses %j", (text) => {
    expect(splitReceipt(text)).toBeNull();
  });
});

describe("canonicalJson", () => {
  it("does not depend on the order of keys, and reads back as the same value", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).toReversed());
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it("writes ASCII, sorts by code unit and leaves out what is undefined", () => {
    expect(canonicalJson({ b: "é\u{1f600}\ud800", a: [1, null, { d: true, c: undefined }] })).toBe(
      '{"a":[1,null,{"d":true}],"b":"\\u00e9\\ud83d\\ude00\\ud800"}',
    );
  });
});
