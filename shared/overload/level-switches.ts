import type { DegradationLevel } from "./level-policy.ts";

/** Whether batch turns wait for a moment with room. */
export function defersBatch(level: DegradationLevel): boolean {
  return level >= 1;
}

/** Whether prefixes may be computed ahead of their turns. */
export function mayPrewarm(level: DegradationLevel): boolean {
  return level < 1;
}
