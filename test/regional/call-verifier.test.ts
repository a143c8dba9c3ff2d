import { createHmac as nodeHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCallSigner } from "#edge/adapters/call-signer.ts";
import { createCallVerifier } from "#regional/adapters/call-verifier.ts";
import {
  nonceKeptMs,
  signatureHeaders,
  signatureInput,
  signatureWindowMs,
} from "#shared/protocol/internal/signature.ts";
import type { CellId } from "#shared/residency/brands.ts";
import { base62 } from "#shared/residency/identifiers.ts";

const cell = "eu-west-1a" as CellId;
const k1 = "11".repeat(32);
const k2 = "22".repeat(32);
const startMs = 1_780_000_000_000;
const method = "PUT";
const path = "/internal/turns/turn_eu_x?attempt=1";
const body = '{"prompt":"Grüße 👋"}';
const bytes = new TextEncoder().encode(body);

type Headers = Readonly<Record<string, string>>;

/** The edge's own signer (WebCrypto) with a clock of its own. */
function signAt(
  timestampMs: number,
  changes: { current?: string; keys?: Headers; nonce?: string; cell?: CellId; body?: string } = {},
): Promise<Headers> {
  const { current = "k1", keys = { k1 }, nonce = base62(randomBytes(22), 22) } = changes;
  const sign = createCallSigner({ current, keys, nowMs: () => timestampMs, nonce: () => nonce });
  return sign({ method, path, body: changes.body ?? body, cell: changes.cell ?? cell });
}

function aCell(
  options: { keys?: Headers; nonceCountMax?: number; startedAtMs?: number; id?: CellId } = {},
) {
  const clock = { nowMs: startMs };
  const { nonceCountMax } = options;
  const verifier = createCallVerifier({
    keys: new Map(Object.entries(options.keys ?? { k1 })),
    cell: options.id ?? cell,
    startedAtMs: options.startedAtMs ?? startMs - 1_000_000,
    nowMs: () => clock.nowMs,
    ...(nonceCountMax === undefined ? {} : { nonceCountMax }),
  });
  const verify = (
    headers: Headers,
    changes: { method?: string; path?: string; body?: Uint8Array } = {},
  ) =>
    verifier.verify(
      (name) => headers[name],
      changes.method ?? method,
      changes.path ?? path,
      changes.body ?? bytes,
    );
  return { clock, verify };
}

const ok = { ok: true };
const refused = (reason: string) => ({ ok: false, reason });

describe("a signature", () => {
  it("is the one that OpenSSL makes", async () => {
    const sign = createCallSigner({
      current: "k1",
      keys: { k1 },
      nowMs: () => startMs,
      nonce: () => "n".repeat(22),
    });
    const call = { method: "PUT", path: "/internal/turns/t?attempt=1", body: "{}", cell };
    expect(await sign(call)).toEqual({
      [signatureHeaders.keyId]: "k1",
      [signatureHeaders.timestamp]: "1780000000000",
      [signatureHeaders.nonce]: "n".repeat(22),
      [signatureHeaders.bodyHash]:
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      [signatureHeaders.signature]:
        "909c90185ae171ff733a31b5427dc18e4eb9baa024667bb55fe8ced87e0e71df",
    });
  });

  it("of WebCrypto at the edge is the one of node:crypto in the cell", async () => {
    const headers = await signAt(startMs, { nonce: "n".repeat(22) });
    const bodySha256 = headers[signatureHeaders.bodyHash] ?? "";
    const input = signatureInput({
      method,
      path,
      bodySha256,
      timestampMs: startMs,
      nonce: "n".repeat(22),
      keyId: "k1",
      cell,
    });
    const expected = nodeHmac("sha256", Buffer.from(k1, "hex")).update(input).digest("hex");
    expect(headers[signatureHeaders.signature]).toBe(expected);
    expect(input).toBe(
      `v1;1780000000000;${"n".repeat(22)};k1;eu-west-1a;PUT;${path};${bodySha256}`,
    );
    expect(aCell().verify(headers)).toEqual(ok);
  });

  it("holds for any body, the empty one included", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme" }), async (text) => {
        const headers = await signAt(startMs, { body: text });
        const own = new TextEncoder().encode(text);
        expect(aCell().verify(headers, { body: own })).toEqual(ok);
        const longer = new Uint8Array([...own, 0]);
        expect(aCell().verify(headers, { body: longer })).toEqual(refused("mismatch"));
      }),
      { numRuns: 30 },
    );
  });

  it("is for one method, path, body and cell", async () => {
    const headers = await signAt(startMs);
    const other = new TextEncoder().encode(`${body} `);
    expect(aCell().verify(headers, { method: "DELETE" })).toEqual(refused("mismatch"));
    expect(aCell().verify(headers, { path: `${path}0` })).toEqual(refused("mismatch"));
    expect(aCell().verify(headers, { body: other })).toEqual(refused("mismatch"));
    expect(aCell({ id: "us-east-1a" as CellId }).verify(headers)).toEqual(refused("mismatch"));
    expect(aCell().verify(headers)).toEqual(ok);
  });

  it.each(Object.values(signatureHeaders))("does not survive a change of %s", async (name) => {
    const headers = await signAt(startMs);
    const value = headers[name] ?? "";
    const last = value.endsWith("0") ? "1" : "0";
    const { verify } = aCell({ keys: { k1, k0: k2 } });
    expect(verify({ ...headers, [name]: value.slice(0, -1) + last }).ok).toBe(false);
    expect(verify({ ...headers, [name]: "" })).toEqual(refused("malformed"));
    expect(verify(headers)).toEqual(ok);
  });

  it("under a key that the cell does not have is refused", async () => {
    const headers = await signAt(startMs, { current: "k2", keys: { k2 } });
    expect(aCell().verify(headers)).toEqual(refused("unknownKey"));
    const lying = await signAt(startMs, { current: "k1", keys: { k1: k2 } });
    expect(aCell().verify(lying)).toEqual(refused("mismatch"));
  });
});

describe("a replay", () => {
  it("is refused, and a repeat with a signature of its own is not", async () => {
    const { verify } = aCell();
    const headers = await signAt(startMs);
    expect([verify(headers), verify(headers)]).toEqual([ok, refused("replayed")]);
    expect(verify(await signAt(startMs))).toEqual(ok);
  });

  it("does not use up the nonce when the call was refused", async () => {
    const { verify } = aCell();
    const headers = await signAt(startMs);
    expect(verify(headers, { path: "/internal/history" })).toEqual(refused("mismatch"));
    expect(verify(headers)).toEqual(ok);
  });

  it.each([-signatureWindowMs, -1, 0, 1, signatureWindowMs])(
    "of a call that is %i ms ahead is refused at every later instant",
    async (aheadMs) => {
      const { clock, verify } = aCell();
      const headers = await signAt(startMs + aheadMs);
      expect(verify(headers)).toEqual(ok);
      for (const laterMs of [
        1,
        signatureWindowMs,
        signatureWindowMs + 1,
        nonceKeptMs - 1,
        nonceKeptMs,
        nonceKeptMs + 1,
        10 * nonceKeptMs,
      ]) {
        clock.nowMs = startMs + laterMs;
        // Other calls come in between, so that old nonces are dropped.
        expect(verify(await signAt(clock.nowMs))).toEqual(ok);
        expect([laterMs, verify(headers).ok]).toEqual([laterMs, false]);
      }
    },
  );

  it("is refused when its nonce had to go because there are too many", async () => {
    const { verify } = aCell({ nonceCountMax: 2 });
    const ahead = await signAt(startMs + 30_000);
    expect(verify(ahead)).toEqual(ok);
    expect(verify(await signAt(startMs + 30_001))).toEqual(ok);
    expect(verify(await signAt(startMs + 30_002))).toEqual(ok);
    expect(verify(ahead)).toEqual(refused("beforeStart"));
    expect(verify(await signAt(startMs + 30_003))).toEqual(ok);
  });

  it("never succeeds, for any clocks, order and bound", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            stepMs: fc.integer({ min: 0, max: 90_000 }),
            skewMs: fc.integer({ min: -70_000, max: 70_000 }),
            again: fc.option(fc.nat({ max: 9 })),
          }),
          { maxLength: 12 },
        ),
        fc.integer({ min: 1, max: 4 }),
        async (steps, nonceCountMax) => {
          const { clock, verify } = aCell({ nonceCountMax });
          const taken: Headers[] = [];
          for (const { stepMs, skewMs, again } of steps) {
            clock.nowMs += stepMs;
            const old = again === null ? undefined : taken[again];
            if (old !== undefined) expect(verify(old).ok).toBe(false);
            const headers = await signAt(clock.nowMs + skewMs);
            if (verify(headers).ok) taken.push(headers);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("the start of a cell", () => {
  it("refuses calls of the time before, and takes the same call signed again", async () => {
    const { verify } = aCell({ startedAtMs: startMs });
    expect(verify(await signAt(startMs - 1))).toEqual(refused("beforeStart"));
    expect(verify(await signAt(startMs))).toEqual(ok);
  });

  it("tells a caller whose key is wrong nothing about it", async () => {
    const { verify } = aCell({ startedAtMs: startMs });
    const forged = await signAt(startMs - 1, { keys: { k1: k2 } });
    expect(verify(forged)).toEqual(refused("mismatch"));
  });
});

describe("a rotation from k1 to k2", () => {
  // Cells learn k2, the edge signs with it, cells forget k1. Each side may still be at the step before.
  const cells = [{ k1 }, { k1, k2 }, { k2 }];
  const edges = [
    { current: "k1", keys: { k1 } },
    { current: "k1", keys: { k1, k2 } },
    { current: "k2", keys: { k1, k2 } },
    { current: "k2", keys: { k2 } },
  ];
  it.each([
    [0, 0],
    [1, 0],
    [1, 1],
    [1, 2],
    [1, 3],
    [2, 2],
    [2, 3],
  ] as const)("works with the cell at step %i and the edge at step %i", async (atCell, atEdge) => {
    const keys = cells[atCell] ?? {};
    expect(aCell({ keys }).verify(await signAt(startMs, edges[atEdge]))).toEqual(ok);
  });

  it("ends with k1 refused", async () => {
    const { verify } = aCell({ keys: { k2 } });
    expect(verify(await signAt(startMs, edges[0]))).toEqual(refused("unknownKey"));
  });
});

describe("the keys of a cell", () => {
  it.each(["", "11", "zz".repeat(32), "11".repeat(33), "1F".repeat(32)])(
    "are refused at start when one is %j",
    (key) => {
      expect(() => aCell({ keys: { k1: key } })).toThrow(RangeError);
    },
  );

  it("are two at most", () => {
    expect(() => aCell({ keys: { k1, k2, k3: k1 } })).toThrow("at most 2 keys");
  });

  it("may be none: then nothing is accepted", async () => {
    expect(aCell({ keys: {} }).verify(await signAt(startMs))).toEqual(refused("unknownKey"));
  });
});
