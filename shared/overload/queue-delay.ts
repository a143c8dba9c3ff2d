import type { Priority } from "../config/topology.ts";
import { defaultSelectionPolicy } from "../routing/selection-policy.ts";

/** A turn that waits. */
export interface WaitingTurn {
  readonly priority: Priority;
  readonly sinceMs: number;
}

/**
 * Longest wait over the time to first token that its class is promised; 0 when none waits. Batch does not count: it is there to
 * wait.
 */
export function queueDelayOf(waiting: Iterable<WaitingTurn>, nowMs: number): number {
  let longest = 0;
  for (const { priority, sinceMs } of waiting) {
    if (priority === "batch") continue;
    const sloMs = 1_000 * defaultSelectionPolicy.ttftSloSeconds[priority];
    longest = Math.max(longest, (nowMs - sinceMs) / sloMs);
  }
  return longest;
}
