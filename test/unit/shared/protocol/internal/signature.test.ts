import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  judgeSignedCall,
  nonceKeptMs,
  readSignedCall,
  signatureHeaders,
  signatureInput,
  signatureWindowMs,
} from "#shared/protocol/internal/signature.ts";
import type { SignedCall } from "#shared/protocol/internal/signature.ts";

const nowMs = 1_780_000_000_000;
const hash = "ab".repeat(32);
const good: Readonly<Record<string, string>> = {
  [signatureHeaders.keyId]: "k1",
  [signatureHeaders.timestamp]: String(nowMs),
  [signatureHeaders.nonce]: "n".repeat(22),
  [signatureHeaders.bodyHash]: hash,
  [signatureHeaders.signature]: "cd".repeat(32),
};

function read(headers: Readonly<Record<string, string>>, method = "PUT", path = "/internal/x?a=1") {
  return readSignedCall((name) => headers[name], method, path, "eu-west-1a");
}

describe("readSignedCall", () => {
  it("gathers the parts of a call", () => {
    expect(read(good)).toEqual({
      call: {
        method: "PUT",
        path: "/internal/x?a=1",
        bodySha256: hash,
        timestampMs: nowMs,
        nonce: "n".repeat(22),
        keyId: "k1",
        cell: "eu-west-1a",
      },
      signature: "cd".repeat(32),
    });
  });

  it.each(Object.keys(good))("refuses a call without %s", (name) => {
    expect(readSignedCall((key) => (key === name ? null : good[key]), "PUT", "/", "c")).toBeNull();
    expect(read({ ...good, [name]: "" })).toBeNull();
  });

  it.each([
    [signatureHeaders.keyId, "K1"],
    [signatureHeaders.keyId, "k;1"],
    [signatureHeaders.keyId, "k".repeat(33)],
    [signatureHeaders.timestamp, "1e12"],
    [signatureHeaders.timestamp, "-178000000000"],
    [signatureHeaders.timestamp, `${nowMs}.5`],
    [signatureHeaders.timestamp, `${nowMs}0`],
    [signatureHeaders.timestamp, ` ${nowMs}`],
    [signatureHeaders.nonce, "n".repeat(21)],
    [signatureHeaders.nonce, "n".repeat(23)],
    [signatureHeaders.nonce, `${"n".repeat(21)};`],
    [signatureHeaders.bodyHash, hash.toUpperCase()],
    [signatureHeaders.bodyHash, hash.slice(1)],
    [signatureHeaders.signature, "CD".repeat(32)],
    [signatureHeaders.signature, `${"cd".repeat(32)}, ${"cd".repeat(32)}`],
  ])("refuses %s: %s", (name, value) => {
    expect(read({ ...good, [name]: value })).toBeNull();
  });

  it("refuses a separator in the path and a method that is none", () => {
    expect(read(good, "PUT", "/internal/x;y")).toBeNull();
    expect(read(good, "PUT;/internal", "/x")).toBeNull();
    expect(read(good, "put")).toBeNull();
  });
});

describe("signatureInput", () => {
  const aCall: fc.Arbitrary<SignedCall> = fc.record({
    method: fc.constantFrom("GET", "PUT", "POST", "DELETE"),
    path: fc.stringMatching(/^\/[a-z0-9/?=&_-]{0,40}$/),
    bodySha256: fc.stringMatching(/^[0-9a-f]{64}$/),
    timestampMs: fc.integer({ min: 1_000_000_000_000, max: 9_999_999_999_999 }),
    nonce: fc.stringMatching(/^[0-9A-Za-z]{22}$/),
    keyId: fc.stringMatching(/^[a-z0-9-]{1,32}$/),
    cell: fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/),
  });

  it("is the same for two calls only when every part is", () => {
    fc.assert(
      fc.property(aCall, aCall, (left, right) => {
        expect(signatureInput(left) === signatureInput(right)).toBe(
          JSON.stringify(left) === JSON.stringify(right),
        );
      }),
    );
  });

  it("changes with each part", () => {
    fc.assert(
      fc.property(aCall, aCall, (left, right) => {
        for (const key of Object.keys(left) as (keyof SignedCall)[]) {
          const mixed = { ...left, [key]: right[key] };
          expect(signatureInput(mixed) === signatureInput(left)).toBe(left[key] === right[key]);
        }
      }),
    );
  });
});

describe("judgeSignedCall", () => {
  const call: SignedCall = {
    method: "PUT",
    path: "/",
    bodySha256: hash,
    timestampMs: nowMs,
    nonce: "n".repeat(22),
    keyId: "k1",
    cell: "c",
  };
  const proof = { signature: "s", expected: "s", actualBodySha256: () => hash };
  const started = { startedAtMs: 0, seenBefore: false };

  it("takes a call in time, signed and new", () => {
    expect(judgeSignedCall(call, proof, started, nowMs)).toEqual({ ok: true });
  });

  it.each([
    ["in its own instant", 0, true],
    ["late by the whole window", signatureWindowMs, true],
    ["late by more", signatureWindowMs + 1, false],
    ["early by the whole window", -signatureWindowMs, true],
    ["early by more", -signatureWindowMs - 1, false],
  ])("judges a call %s", (_name, offsetMs, ok) => {
    const verdict = judgeSignedCall(call, proof, started, nowMs + offsetMs);
    expect(verdict).toEqual(ok ? { ok } : { ok, reason: "expired" });
  });

  it("refuses what is from before the start, and takes what is of the same millisecond", () => {
    const at = (startedAtMs: number) =>
      judgeSignedCall(call, proof, { startedAtMs, seenBefore: false }, nowMs);
    expect(at(nowMs)).toEqual({ ok: true });
    expect(at(nowMs + 1)).toEqual({ ok: false, reason: "beforeStart" });
  });

  it("refuses a nonce that was seen", () => {
    const verdict = judgeSignedCall(call, proof, { ...started, seenBefore: true }, nowMs);
    expect(verdict).toEqual({ ok: false, reason: "replayed" });
  });

  it("refuses another body, and does not hash one for a forged signature", () => {
    const other = { ...proof, actualBodySha256: () => "00".repeat(32) };
    expect(judgeSignedCall(call, other, started, nowMs)).toEqual({ ok: false, reason: "mismatch" });
    let hashed = 0;
    const forged = {
      signature: "t",
      expected: "s",
      actualBodySha256: () => {
        hashed += 1;
        return hash;
      },
    };
    expect(judgeSignedCall(call, forged, started, nowMs)).toEqual({
      ok: false,
      reason: "mismatch",
    });
    expect(hashed).toBe(0);
  });

  it("says nothing of time, start or nonce to a caller whose signature is wrong", () => {
    const forged = { ...proof, signature: "t" };
    const state = { startedAtMs: nowMs * 2, seenBefore: true };
    expect(judgeSignedCall(call, forged, state, nowMs * 2)).toMatchObject({ reason: "mismatch" });
  });
});

it("keeps nonces as long as a call could be in time: a window ahead and a window after", () => {
  expect(nonceKeptMs).toBe(2 * signatureWindowMs);
});
