import { hash } from "node:crypto";
import {
  judgeSignedCall,
  nonceKeptMs,
  noncesMax,
  readSignedCall,
  signatureInput,
} from "#shared/protocol/internal/signature.ts";
import type { CellId } from "#shared/residency/brands.ts";
import type { CallVerifier } from "../ports/call-verifier.ts";
import { Fifo } from "../fifo.ts";
import { createHmacSha256 } from "./hmac-sha256.ts";

/** Whose calls a cell takes, and since when. */
export interface CallVerifierOptions {
  /** Key id → 64 hex digits; two while a key is rotated. */
  readonly keys: ReadonlyMap<string, string>;
  readonly cell: CellId;
  readonly startedAtMs: number;
  readonly nowMs: () => number;
  /** Nonces kept at most; production keeps the contract's number. */
  readonly nonceCountMax?: number;
}

/** A call that was taken. */
interface Arrival {
  readonly nonce: string;
  readonly arrivedAtMs: number;
  readonly timestampMs: number;
}

/** Keys that are valid at once: the current one, and the one that is rotated in or out. */
const keysMax = 2;

/** @throws RangeError for a key that is not 64 hex digits: Buffer would cut it short without a word. */
function importKeys(
  keys: ReadonlyMap<string, string>,
): ReadonlyMap<string, (text: string) => string> {
  if (keys.size > keysMax) throw new RangeError(`at most ${keysMax} keys, got ${keys.size}`);
  const imported = new Map<string, (text: string) => string>();
  for (const [id, hex] of keys) {
    if (!/^[0-9a-f]{64}$/.test(hex)) throw new RangeError(`key ${id} is not 64 hex digits`);
    imported.set(id, createHmacSha256(Buffer.from(hex, "hex")));
  }
  return imported;
}

/**
 * Checks signed calls; each is good for one use. The calls of the time before the cell's start may have been seen by the
 * process before it, so that an honest one among them is refused too, and signed again by the edge. Memory is bounded:
 * when nonces must go early, calls up to the latest time among them are refused.
 * @throws RangeError for more than two keys, or one that is not 64 hex digits.
 */
export function createCallVerifier(options: CallVerifierOptions): CallVerifier {
  const { cell, nowMs, nonceCountMax = noncesMax } = options;
  const keys = importKeys(options.keys);
  const nonces = new Set<string>();
  /** The same in the order of arrival. */
  const arrivals = new Fifo<Arrival>();
  /** Calls with a time before this may have been seen and forgotten. */
  let acceptedFromMs = options.startedAtMs;

  function forgetOld(now: number): void {
    for (let first = arrivals.peek(); first !== undefined; first = arrivals.peek()) {
      const { arrivedAtMs, nonce, timestampMs } = first;
      const isOutOfWindow = now - arrivedAtMs > nonceKeptMs;
      if (!isOutOfWindow && nonces.size < nonceCountMax) return;
      arrivals.shift();
      nonces.delete(nonce);
      if (!isOutOfWindow) acceptedFromMs = Math.max(acceptedFromMs, timestampMs + 1);
    }
  }

  return {
    verify(header, method, pathWithQuery, body) {
      const read = readSignedCall(header, method, pathWithQuery, cell);
      if (read === null) return { ok: false, reason: "malformed" };
      const { call, signature } = read;
      const hmac = keys.get(call.keyId);
      if (hmac === undefined) return { ok: false, reason: "unknownKey" };
      const now = nowMs();
      const verdict = judgeSignedCall(
        call,
        {
          signature,
          expected: hmac(signatureInput(call)),
          actualBodySha256: () => hash("sha256", body, "hex"),
        },
        { startedAtMs: acceptedFromMs, seenBefore: nonces.has(call.nonce) },
        now,
      );
      if (!verdict.ok) return verdict;
      forgetOld(now);
      nonces.add(call.nonce);
      arrivals.push({ nonce: call.nonce, arrivedAtMs: now, timestampMs: call.timestampMs });
      return verdict;
    },
  };
}
