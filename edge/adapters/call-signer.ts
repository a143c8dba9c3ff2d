import type { CellId } from "#shared/residency/brands.ts";
import { signatureHeaders, signatureInput } from "#shared/protocol/internal/signature.ts";
import { createHmac, sha256Hex, toHex } from "./web-crypto.ts";

/** What signing needs; clock and nonces come from outside. */
export interface CallSignerOptions {
  /** The key id to sign with; one of `keys`. */
  readonly current: string;
  /** Key id → 64 hex digits. */
  readonly keys: Readonly<Record<string, string>>;
  readonly nowMs: () => number;
  /** 22 random base-62 characters. */
  readonly nonce: () => string;
}

/**
 * Signs calls to cells; each signature is for one cell and one use. Sign again to repeat a call: also, once, when a cell
 * answers 401, which it does to a call from before its own start. In a rotation cells learn the new key first, then
 * `current` changes, then cells forget the old one.
 * @throws RangeError when `current` is not among the keys or not hex.
 */
export function createCallSigner(
  options: CallSignerOptions,
): (call: {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly cell: CellId;
}) => Promise<Record<string, string>> {
  const { current, keys, nowMs, nonce } = options;
  const hmac = createHmac(keys[current] ?? "");
  const encoder = new TextEncoder();
  return async ({ method, path, body, cell }) => {
    const bodySha256 = await sha256Hex(encoder.encode(body));
    const call = {
      method,
      path,
      bodySha256,
      timestampMs: nowMs(),
      nonce: nonce(),
      keyId: current,
      cell,
    };
    return {
      [signatureHeaders.keyId]: call.keyId,
      [signatureHeaders.timestamp]: String(call.timestampMs),
      [signatureHeaders.nonce]: call.nonce,
      [signatureHeaders.bodyHash]: bodySha256,
      [signatureHeaders.signature]: toHex(await hmac(signatureInput(call))),
    };
  };
}
