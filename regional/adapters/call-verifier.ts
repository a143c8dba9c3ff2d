import { createHash, createHmac } from "node:crypto";
import {
  judgeSignedCall,
  nonceKeptMs,
  noncesMax,
  readSignedCall,
  signatureInput,
} from "#shared/protocol/internal/signature.ts";
import type { SignatureRefusal } from "#shared/protocol/internal/signature.ts";
import type { CellId } from "#shared/residency/brands.ts";

export interface CallVerifierOptions {
  /** Key id → 64 hex digits; two while a key is rotated. */
  readonly keys: ReadonlyMap<string, string>;
  readonly cell: CellId;
  readonly startedAtMs: number;
  readonly nowMs: () => number;
}

export type CallVerdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: SignatureRefusal };

/** Checks signed calls: one use each. An honest call from just before the cell's start is refused, and signed again. */
export interface CallVerifier {
  verify(
    header: (name: string) => string | null | undefined,
    method: string,
    pathWithQuery: string,
    body: Uint8Array,
  ): CallVerdict;
}

export function createCallVerifier(options: CallVerifierOptions): CallVerifier {
  const { keys, cell, startedAtMs, nowMs } = options;
  /** Nonce → when it may be forgotten; in the order of arrival, so that the first are the oldest. */
  const nonces = new Map<string, number>();
  /** Calls with a time at or before this may have been seen and forgotten. */
  let forgottenUntilMs = startedAtMs - 1;

  function forgetOld(now: number): void {
    for (const [nonce, untilMs] of nonces) {
      if (untilMs > now && nonces.size < noncesMax) return;
      nonces.delete(nonce);
      if (untilMs > now) forgottenUntilMs = Math.max(forgottenUntilMs, untilMs - nonceKeptMs);
    }
  }

  return {
    verify(header, method, pathWithQuery, body) {
      const read = readSignedCall(header, method, pathWithQuery, cell);
      if (read === null) return { ok: false, reason: "malformed" };
      const { call, signature } = read;
      const key = keys.get(call.keyId);
      if (key === undefined) return { ok: false, reason: "unknownKey" };
      const now = nowMs();
      forgetOld(now);
      const expected = createHmac("sha256", Buffer.from(key, "hex"))
        .update(signatureInput(call))
        .digest("hex");
      const actualBodySha256 = createHash("sha256").update(body).digest("hex");
      const verdict = judgeSignedCall(
        call,
        { signature, expected, actualBodySha256 },
        { startedAtMs: forgottenUntilMs + 1, seenBefore: nonces.has(call.nonce) },
        now,
      );
      if (verdict.ok) nonces.set(call.nonce, now + nonceKeptMs);
      return verdict;
    },
  };
}
