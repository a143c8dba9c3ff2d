import { hash } from "node:crypto";

/** Bytes of a block of SHA-256, and of its digest (FIPS 180-4). */
const blockBytes = 64;
const digestBytes = 32;

/**
 * HMAC-SHA-256 (RFC 2104) under one key of 32 bytes, as hex. Made of two one-shot hashes over buffers that are kept: a quarter of the
 * time of `createHmac`, which sets up an OpenSSL context for each of the short texts that every call to a cell is signed with.
 * @throws RangeError for a key of another length.
 */
export function createHmacSha256(key: Uint8Array): (text: string) => string {
  if (key.byteLength !== digestBytes) throw new RangeError(`wanted a key of ${digestBytes} bytes`);
  const padded = Buffer.alloc(blockBytes);
  padded.set(key);
  let inner = Buffer.alloc(blockBytes + 1_024);
  inner.set(padded.map((byte) => byte ^ 0x36));
  const outer = Buffer.alloc(blockBytes + digestBytes);
  outer.set(padded.map((byte) => byte ^ 0x5c));
  return (text) => {
    const bytes = Buffer.byteLength(text, "utf8");
    if (blockBytes + bytes > inner.byteLength) {
      inner = Buffer.concat([inner.subarray(0, blockBytes), Buffer.alloc(bytes)]);
    }
    inner.write(text, blockBytes, "utf8");
    outer.write(hash("sha256", inner.subarray(0, blockBytes + bytes), "hex"), blockBytes, "hex");
    return hash("sha256", outer, "hex");
  };
}
