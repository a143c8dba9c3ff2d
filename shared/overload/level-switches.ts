import type { DegradePolicy } from "./degrade-policy.ts";
import type { DegradationLevel, LevelInputs } from "./level-policy.ts";

/** Batch turns that may wait for a trough; more are told to come back. */
export const deferredMax = 1_024;

/** Whether batch turns wait for a moment with room. */
export function defersBatch(level: DegradationLevel): boolean {
  return level >= 1;
}

/** Whether prefixes may be computed ahead of their turns. */
export function mayPrewarm(level: DegradationLevel): boolean {
  return level < 1;
}

/**
 * Whether no class borrows the room that is kept for those above it. A level refuses turns before they wait, so that the queue
 * which ends the borrowing otherwise does not grow: the interactive class filled the shards, and the critical one waited
 * (docs/simulation.md).
 */
export function keepsRoomAbove(level: DegradationLevel): boolean {
  return level >= 2;
}

/** Whether a cell that defers batch turns has room for one now. */
export function hasBatchRoom(
  { queueDelay, saturation }: Pick<LevelInputs, "queueDelay" | "saturation">,
  { roomBelow, roomDelayBelow }: DegradePolicy,
): boolean {
  return saturation < (roomBelow.batch ?? 0) && queueDelay < roomDelayBelow;
}
