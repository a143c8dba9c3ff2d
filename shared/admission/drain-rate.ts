/** Work that was done of late, as an exponentially weighted sum. Plain data. */
export interface DrainRate {
  readonly tokens: number;
  readonly atMs: number;
}

/** Time constant of the mean, ms: a few answers long. */
const tauMs = 5_000;

/** Nothing done yet. */
export const noDrain: DrainRate = { tokens: 0, atMs: 0 };

function fade(passedMs: number): number {
  return Math.exp(-Math.max(0, passedMs) / tauMs);
}

/** The state after work of `tokens` has ended. */
export function addDrained(state: DrainRate, tokens: number, nowMs: number): DrainRate {
  const faded = state.tokens * fade(nowMs - state.atMs);
  return { tokens: faded + Math.max(0, tokens), atMs: nowMs };
}

/**
 * The rate at which waiting work will be drained, tokens per second. `foreseenRate` is what the running turns are predicted to
 * do (each one's work over its predicted time). While turns have waited for less than a time constant the greater of both
 * counts: what was done before, with shards half empty, says little. After that only what was done counts, as predictions of
 * stalled shards would promise too much.
 */
export function drainRate(
  state: DrainRate,
  foreseenRate: number,
  backlogSinceMs: number | null,
  nowMs: number,
): number {
  const measured = ((state.tokens * fade(nowMs - state.atMs)) / tauMs) * 1_000;
  const isMeasured = backlogSinceMs !== null && nowMs - backlogSinceMs >= tauMs;
  return isMeasured && measured > 0 ? measured : Math.max(measured, foreseenRate);
}
