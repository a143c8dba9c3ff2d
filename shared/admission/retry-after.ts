/** Bounds of the waits that clients are told, ms. Clients ignore waits over a minute (openai-node). */
export const retryAfterMsMin = 500;
export const retryAfterMsMax = 60_000;

/**
 * When trying again may help, ms in [500, 60,000]: the time in which what waits is drained, times U(0.75, 1.5) so that the
 * refused do not come back together. A time that is not known is the longest.
 */
export function retryAfterMs(drainMs: number, random: () => number): number {
  const known = Number.isNaN(drainMs) ? retryAfterMsMax : drainMs;
  const spread = known * (0.75 + 0.75 * random());
  return Math.round(Math.min(retryAfterMsMax, Math.max(retryAfterMsMin, spread)));
}
