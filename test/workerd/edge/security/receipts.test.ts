import { describe, expect, it } from "vitest";
import { createReceiptSigner } from "#edge/adapters/receipt-signer.ts";
import type { ReceiptDetails } from "#edge/adapters/receipt-signer.ts";
import { sha256Hex } from "#edge/adapters/web-crypto.ts";
import type { ReceiptFacts } from "#edge/ports.ts";
import type { CellDescription } from "#shared/config/topology.ts";
import type { CellId, Jurisdiction } from "#shared/residency/brands.ts";
import { splitReceipt, verifyReceipt } from "#shared/residency/receipt.ts";
import type { ReceiptVerdict } from "#shared/residency/receipt.ts";
import { topologyWith } from "./topology-with.ts";

const topology = topologyWith({});
// RFC 8037, appendix A.
const key = {
  kid: "test-1",
  kty: "OKP",
  crv: "Ed25519",
  d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
} as const;
const signer = createReceiptSigner({ key, topology, mode: "enforce" });

function cellOf(id: string): CellDescription {
  const cell = topology.cells.get(id as CellId);
  if (cell === undefined) throw new Error("no such cell in this test");
  return cell;
}

const facts: ReceiptFacts & ReceiptDetails = {
  requestId: "req_1",
  jurisdiction: "eu" as Jurisdiction,
  colo: "DUB",
  hasObject: true,
  cell: cellOf("eu-west-1a"),
  shard: "eu-west-1a/llama-0",
  rejected: [{ id: "eu-central-1a", reason: "full" }],
  nowMs: 1_780_000_000_000,
  hostname: "eu.localhost",
  tenantTag: "AbCd1234",
  api: "/v1/responses",
  outcome: "streaming",
};

function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Verifies as a stranger would: with the published key only. */
async function verify(value: string): Promise<ReceiptVerdict> {
  const parts = splitReceipt(value);
  if (parts === null) throw new Error("not a receipt");
  const payload = bytesOf(parts.payload);
  const { keys } = signer.publicKeys as { keys: (JsonWebKey & { kid: string })[] };
  return verifyReceipt(
    new TextDecoder().decode(payload),
    async (keyId) => {
      const found = keys.find(({ kid }) => kid === keyId);
      if (found === undefined) return null;
      const { kty, crv, x } = found;
      const imported = await crypto.subtle.importKey(
        "jwk",
        { kty, crv, x } as JsonWebKey,
        { name: "Ed25519" },
        false,
        ["verify"],
      );
      return crypto.subtle.verify("Ed25519", imported, bytesOf(parts.signature), payload);
    },
    (text) => sha256Hex(new TextEncoder().encode(text)),
  );
}

describe("a signed receipt", () => {
  it("verifies with the published key and names every hop", async () => {
    const verdict = await verify(await signer.sign(facts));
    expect(verdict).toMatchObject({ ok: true });
    if (!verdict.ok) return;
    const { hops, ...head } = verdict.receipt;
    expect(hops.map(({ previous: _previous, ...hop }) => hop)).toEqual([
      { kind: "worker", jurisdiction: "eu", hostname: "eu.localhost", colo: "DUB" },
      { kind: "object", jurisdiction: "eu", pin: "eu", mode: "enforce" },
      { kind: "cell", jurisdiction: "eu", id: "eu-west-1a", region: "eu-west-1" },
      {
        kind: "shard",
        jurisdiction: "eu",
        id: "eu-west-1a/llama-0",
        region: "eu-west-1",
        model: "sim/llama",
        revision: "r1",
      },
      { kind: "database", jurisdiction: "eu", region: "eu-west-1" },
    ]);
    expect(head).toEqual({
      v: 1,
      keyId: "test-1",
      requestId: "req_1",
      issuedAtMs: 1_780_000_000_000,
      jurisdiction: "eu",
      tenantTag: "AbCd1234",
      api: "/v1/responses",
      outcome: "streaming",
      rejected: [{ id: "eu-central-1a", reason: "full" }],
      rejectedCount: 1,
    });
  });

  it("is the same twice: Ed25519 is deterministic", async () => {
    expect(await signer.sign(facts)).toBe(await signer.sign(facts));
  });

  it("of a request that went nowhere has the Worker's hop alone", async () => {
    const alone = { ...facts, hasObject: false, cell: null, shard: null, rejected: [] };
    const verdict = await verify(await signer.sign(alone));
    expect(verdict.ok && verdict.receipt.hops.map(({ kind }) => kind)).toEqual(["worker"]);
  });

  it("of the stateless lane has neither object nor database", async () => {
    const verdict = await verify(await signer.sign({ ...facts, hasObject: false }));
    expect(verdict.ok && verdict.receipt.hops.map(({ kind }) => kind)).toEqual([
      "worker",
      "cell",
      "shard",
    ]);
  });
});

describe("a receipt tells on the deployment", () => {
  it("when the cell was in another jurisdiction", async () => {
    const abroad = { ...facts, cell: cellOf("us-east-1a"), shard: null };
    expect(await verify(await signer.sign(abroad))).toMatchObject({
      ok: false,
      detail: "hop 3 (cell) is in us, required eu",
    });
  });

  it("when a cell names a shard of another jurisdiction as its own", async () => {
    expect(
      await verify(await signer.sign({ ...facts, shard: "us-east-1a/llama-0" })),
    ).toMatchObject({
      detail: "hop 4 (shard) is in us, required eu",
    });
  });

  it("when a cell names a shard that the topology does not have", async () => {
    expect(await verify(await signer.sign({ ...facts, shard: "eu-west-1a/ghost" }))).toMatchObject({
      detail: "hop 4 (shard) is in unknown, required eu",
    });
  });
});

it("does not verify after any one character of it is changed", async () => {
  const value = await signer.sign(facts);
  for (let index = 0; index < value.length - 1; index += 7) {
    if (value.charAt(index) === ".") continue;
    const changed = `${value.slice(0, index)}${value.charAt(index) === "A" ? "B" : "A"}${value.slice(index + 1)}`;
    expect([index, (await verify(changed)).ok]).toEqual([index, false]);
  }
});

it("publishes nothing of the private key", () => {
  const text = JSON.stringify(signer.publicKeys);
  expect(text).toContain(key.x);
  expect(text).not.toContain(key.d);
});
