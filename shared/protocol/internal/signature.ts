import { equalInConstantTime } from "../../residency/identifiers.ts";

/**
 * Signed calls from the edge to a cell: HMAC-SHA-256 over method, path, body hash, time, nonce, key id and the cell's id.
 * Trust points one way; a cell never calls the edge.
 */
export const signatureHeaders = {
  keyId: "x-meridian-key-id",
  timestamp: "x-meridian-timestamp",
  nonce: "x-meridian-nonce",
  bodyHash: "x-meridian-body-sha256",
  signature: "x-meridian-signature",
} as const;

/** A call is refused when its time differs from the cell's by more than this; reliability page 9.3. */
export const signatureWindowMs = 60_000;
/**
 * Nonces are kept for twice the window after they arrive, that instant included: a call may be ahead of the cell's clock by
 * one window and is in time for another one.
 */
export const nonceKeptMs = 2 * signatureWindowMs;
/** Most nonces kept; past it the oldest go, and calls with a time up to that of one that went are refused. */
export const noncesMax = 500_000;

/** What is signed. `path` includes the query; `bodySha256` is hex of the raw body, also of an empty one. */
export interface SignedCall {
  readonly method: string;
  readonly path: string;
  readonly bodySha256: string;
  readonly timestampMs: number;
  readonly nonce: string;
  readonly keyId: string;
  /** The audience: a call for one cell is worthless at another. */
  readonly cell: string;
}

/** The text to sign. No part can hold a `;` that would shift the others: all are checked by {@link readSignedCall}. */
export function signatureInput(call: SignedCall): string {
  return `v1;${call.timestampMs};${call.nonce};${call.keyId};${call.cell};${call.method};${call.path};${call.bodySha256}`;
}

/** The parts of a signed call from its headers, or null when one is missing or misshapen. */
export function readSignedCall(
  header: (name: string) => string | null | undefined,
  method: string,
  path: string,
  cell: string,
): { readonly call: SignedCall; readonly signature: string } | null {
  const keyId = header(signatureHeaders.keyId) ?? "";
  const timestamp = header(signatureHeaders.timestamp) ?? "";
  const nonce = header(signatureHeaders.nonce) ?? "";
  const bodySha256 = header(signatureHeaders.bodyHash) ?? "";
  const signature = header(signatureHeaders.signature) ?? "";
  if (!/^[A-Z]{1,16}$/.test(method)) return null;
  if (!/^[a-z0-9-]{1,32}$/.test(keyId) || !/^\d{13}$/.test(timestamp)) return null;
  if (!/^[0-9A-Za-z]{22}$/.test(nonce) || !/^[0-9a-f]{64}$/.test(bodySha256)) return null;
  if (!/^[0-9a-f]{64}$/.test(signature) || path.includes(";")) return null;
  const call = { method, path, bodySha256, timestampMs: Number(timestamp), nonce, keyId, cell };
  return { call, signature };
}

/** Why a signed call is refused. */
export type SignatureRefusal =
  | "malformed"
  | "unknownKey"
  | "expired"
  | "beforeStart"
  | "replayed"
  | "mismatch";

/**
 * Judges a call whose HMAC was computed by the caller under the key `call.keyId`. The body is hashed only once the
 * signature holds, so that a flood of forged calls costs one short HMAC each. `seenBefore` tells whether the nonce is among
 * those kept; a call from before `startedAtMs` (the cell's own start, or later when nonces had to go) is refused,
 * since the nonces of that time are forgotten. The edge answers a 401 by signing again, once.
 */
export function judgeSignedCall(
  call: SignedCall,
  proof: {
    readonly signature: string;
    readonly expected: string;
    readonly actualBodySha256: () => string;
  },
  cellState: { readonly startedAtMs: number; readonly seenBefore: boolean },
  nowMs: number,
): { readonly ok: true } | { readonly ok: false; readonly reason: SignatureRefusal } {
  if (!equalInConstantTime(proof.signature, proof.expected))
    return { ok: false, reason: "mismatch" };
  if (!equalInConstantTime(proof.actualBodySha256(), call.bodySha256))
    return { ok: false, reason: "mismatch" };
  if (Math.abs(nowMs - call.timestampMs) > signatureWindowMs)
    return { ok: false, reason: "expired" };
  if (call.timestampMs < cellState.startedAtMs) return { ok: false, reason: "beforeStart" };
  if (cellState.seenBefore) return { ok: false, reason: "replayed" };
  return { ok: true };
}
