import type { BreakerState } from "../breaker/breaker-state.ts";

/** No canary goes to a shard that is this full: prompts of customers come first. */
const saturationMax = 0.8;

/** What of a shard says whether it may be asked. */
export interface CanarySubject {
  readonly breaker: BreakerState["kind"];
  readonly isAlive: boolean;
  readonly isDraining: boolean;
  /** 1 is full. */
  readonly saturation: number;
}

/** Whether a shard may be asked for a canary now. */
export function isCanaryFit({ breaker, isAlive, isDraining, saturation }: CanarySubject): boolean {
  // Half open, its places are for prompts; open, an answer shows that it need not be.
  const isAnswering = breaker === "closed" || (breaker === "open" && isAlive);
  return isAnswering && !isDraining && saturation < saturationMax;
}

/**
 * Whose turn it is among `fit` shards, and with which of the prompts: each shard gets one prompt after the other; a round of all
 * shards has one prompt, so that their answers compare. Null where none may be asked.
 */
export function canaryOf<Shard>(
  fit: readonly Shard[],
  turn: number,
  prompts: number,
): { readonly shard: Shard; readonly prompt: number } | null {
  const shard = fit[turn % Math.max(1, fit.length)];
  if (shard === undefined) return null;
  return { shard, prompt: Math.floor(turn / fit.length) % prompts };
}
