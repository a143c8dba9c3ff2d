/** How much of a shard's prefill moves of conversations may use. */
export interface PrewarmPolicy {
  /** Share of the shard's prefill capacity, 0..1. */
  readonly share: number;
  /** Capacity that may be saved up, seconds of the share. */
  readonly burstSeconds: number;
  /** Prefill of a shard that was not measured yet, tokens per second. */
  readonly prefillTokensPerSecondDefault: number;
  /** Smallest prefill that is a measurement: below it, the time to the first token is mostly the cost of one step. */
  readonly measuredTokensMin: number;
  /** How much of the last estimate is kept when a prefill was slower, 0..1. */
  readonly decay: number;
}

/**
 * 20 % of the destination: routing page, section 6. The default is the slowest row of its section 14 (L4 with an 8B
 * model), so that an unknown shard is rather spared. 10 s of the share let one conversation of 4,800 tokens move at once.
 */
export const defaultPrewarmPolicy: PrewarmPolicy = {
  share: 0.2,
  burstSeconds: 10,
  prefillTokensPerSecondDefault: 2_400,
  measuredTokensMin: 512,
  decay: 0.9,
};

/** What a shard's moves have left, prompt tokens; below 0 when one was larger than all that can be saved up. */
export interface PrewarmBudget {
  readonly tokens: number;
  readonly atMs: number;
}

/** Taken, or how long to wait, ms. */
export type TakeResult =
  | { readonly kind: "taken"; readonly budget: PrewarmBudget }
  | { readonly kind: "wait"; readonly waitMs: number };

function refilled(
  budget: PrewarmBudget | null,
  ratePerMs: number,
  burst: number,
  nowMs: number,
): number {
  if (budget === null) return burst;
  const passedMs = Math.max(0, nowMs - budget.atMs);
  return Math.min(burst, budget.tokens + ratePerMs * passedMs);
}

/**
 * Takes `tokens` of a shard's share, a token bucket: over any time it gives at most the burst, one prompt and the share of
 * that time. A prompt larger than the burst is let through when the bucket is full, and paid for afterwards; otherwise it
 * could never move. Null is a full bucket.
 */
export function takePrefill(
  budget: PrewarmBudget | null,
  tokens: number,
  prefillTokensPerSecond: number,
  nowMs: number,
  policy: PrewarmPolicy,
): TakeResult {
  const ratePerMs = (prefillTokensPerSecond * policy.share) / 1000;
  const burst = ratePerMs * 1000 * policy.burstSeconds;
  const held = refilled(budget, ratePerMs, burst, nowMs);
  const needed = Math.min(tokens, burst);
  if (held < needed) return { kind: "wait", waitMs: Math.ceil((needed - held) / ratePerMs) };
  return { kind: "taken", budget: { tokens: held - tokens, atMs: nowMs } };
}

/** The budget once it is known that `cachedTokens` of what was taken had not to be computed. */
export function giveBackPrefill(budget: PrewarmBudget, cachedTokens: number): PrewarmBudget {
  return { ...budget, tokens: budget.tokens + cachedTokens };
}

/**
 * A shard's prefill after another measurement, tokens per second. The time to the first token includes waiting behind
 * others, so that each measurement is at most what the shard can do: the highest is kept, and fades.
 */
export function measurePrefill(
  tokensPerSecond: number | null,
  measured: { readonly uncachedTokens: number; readonly ttftMs: number },
  policy: PrewarmPolicy,
): number | null {
  const { ttftMs, uncachedTokens } = measured;
  if (uncachedTokens < policy.measuredTokensMin || !(ttftMs > 0)) return tokensPerSecond;
  const seen = (uncachedTokens * 1000) / ttftMs;
  if (tokensPerSecond === null || seen >= tokensPerSecond) return seen;
  return tokensPerSecond * policy.decay + seen * (1 - policy.decay);
}
