import { describe, expect, it } from "vitest";
import { createCallSigner } from "#edge/adapters/call-signer.ts";
import { createIdentifierPort } from "#edge/adapters/identifier-port.ts";
import { createHmac, fromHex, sha256Hex, toHex } from "#edge/adapters/web-crypto.ts";
import { signatureHeaders } from "#shared/protocol/internal/signature.ts";
import type { CellId, Jurisdiction, TenantId } from "#shared/residency/brands.ts";
import { mintIdentifier, openIdentifier } from "#shared/residency/identifiers.ts";

const keyHex = "11".repeat(32);
const scope = { tenant: "acme" as TenantId, jurisdiction: "eu" as Jurisdiction };

describe("the Worker's hashes", () => {
  it("are those of FIPS 180 and RFC 4231", async () => {
    expect(await sha256Hex(new TextEncoder().encode("abc"))).toBe(
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
    // RFC 4231, test case 1.
    expect(toHex(await createHmac("0b".repeat(20))("Hi There"))).toBe(
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    );
  });

  it("take hex digits and nothing else for a key", () => {
    expect(toHex(fromHex("00ff7a"))).toBe("00ff7a");
    for (const text of ["", "0", "0g", "FF", " ff", "ff\n"])
      expect(() => fromHex(text)).toThrow(RangeError);
  });
});

describe("the identifier port", () => {
  it("makes the same identifier from the same key, and knows it again in another isolate", async () => {
    const port = createIdentifierPort(keyHex);
    const id = await mintIdentifier(port, scope, "conv", "C".repeat(16));
    // Fixed: a change of what is under the MAC orphans every stored conversation.
    expect(id).toMatchInlineSnapshot(`"conv_eu_1yDbhZeo_CCCCCCCCCCCCCCCC_sdWlcW7DXNto0RNJS0qVoQ"`);
    expect(await mintIdentifier(port, scope, "conv", "C".repeat(16))).toBe(id);
    const other = createIdentifierPort(keyHex);
    expect(await openIdentifier(other, scope, id, ["conv"])).not.toBeNull();
    const rotated = createIdentifierPort("12".repeat(32));
    expect(await openIdentifier(rotated, scope, id, ["conv"])).toBeNull();
  });

  it("remembers tags without mixing tenants, keys or texts up", async () => {
    const port = createIdentifierPort(keyHex);
    const texts = ["tenant;v1;eu;acme", "tenant;v1;us;acme", "tenant;v1;eu;globex"];
    const first = await Promise.all(texts.map((text) => port.mac(text, 8)));
    const second = await Promise.all(texts.map((text) => port.mac(text, 8)));
    expect(second).toEqual(first);
    expect(new Set(first).size).toBe(3);
    expect(await createIdentifierPort("12".repeat(32)).mac(texts[0] ?? "", 8)).not.toBe(first[0]);
    expect((await port.mac(texts[0] ?? "", 32)).slice(0, 8)).toBe(first[0]);
  });

  it("refuses a MAC longer than the hash", async () => {
    const port = createIdentifierPort(keyHex);
    expect(await port.mac("text", 32)).toHaveLength(32);
    await expect(port.mac("text", 33)).rejects.toThrow("a byte per letter");
  });

  it("draws letters evenly", () => {
    const port = createIdentifierPort(keyHex);
    expect(port.random(0)).toBe("");
    expect(port.random(16)).toMatch(/^[0-9A-Za-z]{16}$/);
    expect(port.random(16)).not.toBe(port.random(16));
    const counts = new Map<string, number>();
    const letters = Array.from({ length: 20 }, () => port.random(3_100)).join("");
    for (const letter of letters) counts.set(letter, (counts.get(letter) ?? 0) + 1);
    expect(counts.size).toBe(62);
    // 1,000 each are expected with a standard deviation of 31.4; by modulo the first 8 would have 1,211.
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(190);
  });
});

it("signs a call as OpenSSL does", async () => {
  const sign = createCallSigner({
    current: "k1",
    keys: { k0: "00".repeat(32), k1: keyHex },
    nowMs: () => 1_780_000_000_000,
    nonce: () => "n".repeat(22),
  });
  const headers = await sign({
    method: "PUT",
    path: "/internal/turns/t?attempt=1",
    body: "{}",
    cell: "eu-west-1a" as CellId,
  });
  expect(headers[signatureHeaders.signature]).toBe(
    "909c90185ae171ff733a31b5427dc18e4eb9baa024667bb55fe8ced87e0e71df",
  );
  expect(headers[signatureHeaders.keyId]).toBe("k1");
});

it("does not sign without its current key", () => {
  const options = { current: "k2", keys: { k1: keyHex }, nowMs: () => 0, nonce: () => "" };
  expect(() => createCallSigner(options)).toThrow(RangeError);
});
