import { neverMs } from "./policy.ts";
import type { IdempotencyClaim } from "./rpc.ts";
import { refuse } from "./step.ts";
import type { Refused, StepContext } from "./step.ts";

/** What an idempotency key says of a call: nothing, that it was made before, or that it was used for something else. */
export type EarlierCall =
  | { readonly kind: "none" }
  | { readonly kind: "repeat"; readonly turnRandom: string }
  | Refused;

/** Looks a key up. Without one every call is a new one. */
export function findEarlier(context: StepContext, claim: IdempotencyClaim | null): EarlierCall {
  const earlier = claim === null ? null : context.store.readIdempotency(claim.key);
  if (claim === null || earlier === null) return { kind: "none" };
  if (earlier.bodySha256 === claim.bodySha256)
    return { kind: "repeat", turnRandom: earlier.turnRandom };
  return refuse(
    "idempotency_key_reused",
    "This Idempotency-Key was used with another body. Use a new key.",
  );
}

/**
 * Keeps the key of a call that is made now. One that names what it makes (the conversation, items) stays as long as the
 * conversation does: were it forgotten, its next use would meet what the first one has made.
 * @param turnRandom The turn that the call begins; empty where it begins none.
 */
export function keepClaim(
  context: StepContext,
  claim: IdempotencyClaim | null,
  turnRandom: string,
  isName: boolean,
): void {
  if (claim === null) return;
  const expiresAtMs = isName ? neverMs : context.nowMs + context.policy.idempotencyKeptMs;
  context.store.writeIdempotency(claim.key, claim.bodySha256, turnRandom, expiresAtMs);
}
