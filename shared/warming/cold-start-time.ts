/** Starts that are remembered: enough for a quartile, few enough that a faster platform shows within a day. */
const startsMax = 15;
/** From this many starts on only they count, and no longer what was declared. */
const learntFrom = 3;
/** Share of starts that the expected time covers: who is told a wait is seldom told too little. */
const coveredShare = 0.75;
/** A start that is longer on its way than expected is thought to need this share of its time once more. */
const overdueShare = 0.25;

/** The last starts with one more, ms; nonsense changes nothing. */
export function withStart(starts: readonly number[], startMs: number): readonly number[] {
  if (!Number.isFinite(startMs) || startMs < 0) return starts;
  return [...starts, startMs].slice(-startsMax);
}

/**
 * How long a cold start is expected to take, ms: the upper quartile of those seen; until there are a few, the declared time
 * counts as one of them.
 */
export function expectedStartMs(starts: readonly number[], declaredMs: number): number {
  const known = starts.length < learntFrom ? [...starts, declaredMs] : starts;
  const sorted = known.toSorted((left, right) => left - right);
  return sorted[Math.ceil(coveredShare * sorted.length) - 1] ?? declaredMs;
}

/**
 * What is left of a start that began `elapsedMs` ago, ms: never nothing, and more the longer it is overdue, because the times of
 * starts have a long tail (log-normal with sigma 0.35 to 0.5 by the cold starts that platforms publish).
 */
export function remainingStartMs(expectedMs: number, elapsedMs: number): number {
  const elapsed = Math.max(0, elapsedMs);
  return Math.max(1, expectedMs - elapsed, overdueShare * elapsed);
}
