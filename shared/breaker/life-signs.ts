import { stepBreaker, viewAt } from "./breaker.ts";
import type { BreakerPolicy } from "./breaker-policy.ts";
import type { BreakerEvent } from "./breaker.ts";
import type { BreakerState } from "./breaker-state.ts";

/** A shard's breaker with what its health checks said. */
export interface LifeSigns {
  readonly breaker: BreakerState;
  /** Whether its last sign was one of life. */
  readonly isAlive: boolean;
  /** Whether a health check failed, and the shard has not been taken back for its return since. */
  readonly wasGone: boolean;
}

/** The signs once the shard did what it could not do while its breaker opened: an open one need not be for long. */
export function withProofOfLife(
  signs: LifeSigns,
  nowMs: number,
  random: () => number,
  policy: BreakerPolicy,
): LifeSigns {
  const { isAlive, wasGone } = signs;
  const wasOpen = viewAt(signs.breaker, nowMs).kind === "open";
  const breaker = stepBreaker(signs.breaker, { kind: "alive" }, nowMs, random, policy).state;
  return { breaker, isAlive, wasGone: wasGone && !(wasOpen && breaker.kind !== "open") };
}

/**
 * The signs after a health check. A failed one counts as a failure while the breaker is closed; a good one shortens an open
 * breaker where the shard was gone, and helps to close one that is half open.
 */
export function withProbe(
  signs: LifeSigns,
  isOk: boolean,
  nowMs: number,
  random: () => number,
  policy: BreakerPolicy,
): LifeSigns {
  const step = (breaker: BreakerState, event: BreakerEvent): BreakerState =>
    stepBreaker(breaker, event, nowMs, random, policy).state;
  const { breaker, wasGone } = signs;
  const { kind, trips } = viewAt(breaker, nowMs);
  if (!isOk) {
    // Only a closed breaker is moved: a shard that is down for a minute must not be kept away for two more.
    const next = kind === "closed" ? step(breaker, { kind: "failure", trips }) : breaker;
    return { breaker: next, isAlive: false, wasGone: true };
  }
  const alive = { breaker, isAlive: true, wasGone };
  // A shard that answers prompts with errors may answer health checks all the time: only a return is a sign.
  if (kind === "open" && wasGone) return withProofOfLife(alive, nowMs, random, policy);
  // Live traffic outweighs what a shard says of itself: a probe helps to close a breaker, and hides no failure.
  if (kind === "halfOpen") {
    const leased = step(breaker, { kind: "dispatch" });
    return { ...alive, breaker: step(leased, { kind: "success", trips }) };
  }
  return alive;
}
