/** Time constant of the rate of tokens that reach a shard, seconds: a minute is many turns and few habits (our choice). */
const rateSeconds = 60;

/** Tokens that reach a shard a second, exponentially averaged. */
export interface TokenRate {
  readonly perSecond: number;
  readonly atMs: number;
}

/** A shard that was sent nothing. */
export const noTokenRate: TokenRate = { perSecond: 0, atMs: 0 };

/** The rate as it is at `nowMs`. */
export function tokenRateAt({ atMs, perSecond }: TokenRate, nowMs: number): number {
  return perSecond * Math.exp(-Math.max(0, nowMs - atMs) / 1_000 / rateSeconds);
}

/** The rate after `tokens` more. */
export function observeTokens(rate: TokenRate, tokens: number, nowMs: number): TokenRate {
  return { perSecond: tokenRateAt(rate, nowMs) + tokens / rateSeconds, atMs: nowMs };
}

/**
 * Tokens of a conversation that its shard still holds after `idleSeconds`: half of them are gone each time that the shard has
 * been sent as many tokens as it can keep. A shard that is sent nothing forgets nothing.
 */
export function heldTokens(
  tokens: number,
  idleSeconds: number,
  tokensPerSecond: number,
  kvTokensMax: number,
): number {
  if (!(tokens > 0)) return 0;
  const evictionSeconds = kvTokensMax / Math.max(tokensPerSecond, Number.MIN_VALUE);
  return tokens * 0.5 ** (Math.max(0, idleSeconds) / evictionSeconds);
}
