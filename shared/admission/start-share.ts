/** Numbers of a cell's first seconds. */
export interface StartPolicy {
  /** Share of a shard's slots that is used at first, 0..1. */
  readonly share: number;
  /** How long at least, ms. */
  readonly msMin: number;
  /** From when on all slots are used, also of a shard that tells nothing of its load, ms. */
  readonly msMax: number;
}

/** Half, for 2 s: starting values of our own; ten seconds are a few answers long, so that most of what a former process had begun is over. */
export const defaultStartPolicy: StartPolicy = { share: 0.5, msMin: 2_000, msMax: 10_000 };

/**
 * Share of a shard's slots that a cell which has just started may use, 0..1: its counters are empty, and engines may still work
 * on what the process before it had begun. Half until the shard has told its load since, which counts as others' work from then
 * on; of one that tells none, more in a straight line. A clock that went back counts as the start.
 */
export function startShare(
  startedAtMs: number,
  reportedAtMs: number | null,
  nowMs: number,
  policy: StartPolicy,
): number {
  const ageMs = nowMs - startedAtMs;
  if (ageMs < policy.msMin) return policy.share;
  if (ageMs >= policy.msMax || (reportedAtMs !== null && reportedAtMs >= startedAtMs)) return 1;
  return (
    policy.share + ((1 - policy.share) * (ageMs - policy.msMin)) / (policy.msMax - policy.msMin)
  );
}

/** The slots of a shard that may be used, at least one. */
export function startSlots(slots: number, share: number): number {
  return Math.max(1, Math.floor(slots * share));
}
