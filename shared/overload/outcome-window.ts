/** Turns that ended in the last seconds, in buckets of one second each. Plain data. */
export interface OutcomeWindow {
  /** Second of each bucket, since the epoch; a bucket of another second is empty. */
  readonly seconds: readonly number[];
  readonly ended: readonly number[];
  readonly failed: readonly number[];
}

/** Length of the window, seconds, and the fewest turns that say something: 1 of 5 is no ratio (our choice). */
const windowSeconds = 10;
const endedMin = 20;

/** Nothing has ended. */
export function newOutcomeWindow(): OutcomeWindow {
  const zeros = Array.from({ length: windowSeconds }, () => 0);
  return { seconds: zeros, ended: zeros, failed: zeros };
}

/** The window once a turn has ended at `nowMs`. */
export function withOutcome(
  window: OutcomeWindow,
  hasFailed: boolean,
  nowMs: number,
): OutcomeWindow {
  const second = Math.floor(nowMs / 1000);
  const at = second % windowSeconds;
  const isSame = window.seconds[at] === second;
  const kept = (counts: readonly number[]): number => (isSame ? (counts[at] ?? 0) : 0);
  return {
    seconds: window.seconds.with(at, second),
    ended: window.ended.with(at, kept(window.ended) + 1),
    failed: window.failed.with(at, kept(window.failed) + (hasFailed ? 1 : 0)),
  };
}

/** Share of the turns of the last 10 s that failed, 0..1; 0 while fewer than 20 ended. */
export function errorRatioOf(window: OutcomeWindow, nowMs: number): number {
  const second = Math.floor(nowMs / 1000);
  let ended = 0;
  let failed = 0;
  for (const [index, at] of window.seconds.entries()) {
    if (at > second || at <= second - windowSeconds) continue;
    ended += window.ended[index] ?? 0;
    failed += window.failed[index] ?? 0;
  }
  return ended < endedMin ? 0 : failed / ended;
}
