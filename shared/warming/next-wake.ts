/** A start is asked about again after this share of what is left of it, within these bounds, ms, and ± the jitter. */
const remainingShare = 1 / 3;
const wakeMsMin = 500;
const wakeMsMax = 30_000;
const jitterRatio = 0.25;
/** The longest Retry-After of a platform that is believed, ms. */
const retryAfterMsMax = 60_000;

/**
 * When a shard that was still cold is asked again, ms from now. Asked while it is starting, it is asked the more often the nearer
 * its expected time is, and the later it is the more seldom: what is left of an overdue start grows with its age. So a start costs
 * a number of prompts that grows with the logarithm of its length, and many cells do not ask at once. `remainingMs` null: its start
 * has failed, or nothing is known of it.
 */
export function nextWakeMs(
  remainingMs: number | null,
  retryAfterMs: number | null,
  random: () => number,
): number {
  const share = remainingMs === null ? wakeMsMax : remainingShare * remainingMs;
  const asked = Math.min(retryAfterMsMax, retryAfterMs ?? 0);
  const baseMs = Math.min(wakeMsMax, Math.max(wakeMsMin, share));
  const waitMs = baseMs * (1 - jitterRatio + 2 * jitterRatio * random());
  // Never sooner than the platform asked for; later by a little, so that not all come at once.
  return Math.round(Math.max(waitMs, asked * (1 + jitterRatio * random())));
}
