/** Numbers of the adaptive timeouts of one dispatch. */
export interface TryPlanPolicy {
  /** First-token timeout: `clamp(factor * predicted + slackMs, minMs, maxMs)`. */
  readonly firstTokenFactor: number;
  readonly firstTokenSlackMs: number;
  readonly firstTokenMsMin: number;
  /** Also of a shard that is cold or was not heard for a while. */
  readonly firstTokenMsMax: number;
  /** An answer is overdue after the first-token timeout + this × its 90th percentile of tokens × the slow time per token. */
  readonly outputFactor: number;
  /** The slow (99th percentile) time per token over the predicted one: a busy batch has that between prefills. */
  readonly slowTokenFactor: number;
  /** A hedge is begun after `max(95th percentile of observed / predicted, factor) * predicted`, at least this. */
  readonly hedgeFactor: number;
  readonly hedgeMsMin: number;
}

/**
 * First token `3 T + 1 s` within 4 to 45 s and 1.5 × the 90th percentile: starting values of our own; the slow token is the
 * spread of chunked prefill in the engine model (docs/simulation.md). 200 ms is two looks of a turn at the clock.
 */
export const defaultTryPlanPolicy: TryPlanPolicy = {
  firstTokenFactor: 3,
  firstTokenSlackMs: 1_000,
  firstTokenMsMin: 4_000,
  firstTokenMsMax: 45_000,
  outputFactor: 1.5,
  slowTokenFactor: 3,
  hedgeFactor: 2,
  hedgeMsMin: 200,
};

/** What is predicted of a dispatch. */
export interface PredictedTry {
  readonly ttftSeconds: number;
  readonly interTokenSeconds: number;
  readonly outputTokens: number;
  /** 90 % of the answers of its kind are shorter. */
  readonly outputTokensP90: number;
}

/** When a dispatch is late, ms from its beginning. */
export interface TryPlan {
  /** Later than this its first token is not waited for, where another shard can be tried. */
  readonly firstTokenTimeoutMs: number;
  /** Later than this the answer goes on at another shard, where it has fewer than `overdueTokens` by then; null: never. */
  readonly overdueMs: number | null;
  readonly overdueTokens: number;
  /** When it is predicted to end: a try that cannot end before the deadline is not made. */
  readonly endMs: number;
  /** When a second shard is asked the same; null where that may not be. */
  readonly hedgeMs: number | null;
}

/** A prediction that is no time (NaN, infinite, negative) is none. */
function msOf(seconds: number): number | null {
  return Number.isFinite(seconds) && seconds >= 0 ? 1000 * seconds : null;
}

/**
 * Plans a dispatch by its prediction. A shard that is not known to be warm has the whole first-token time: its first answer may
 * wait for weights. `hedgeRatio` is the 95th percentile of observed / predicted time to first token; null: no hedge.
 */
export function planTry(
  predicted: PredictedTry,
  { isWarm, hedgeRatio }: { readonly isWarm: boolean; readonly hedgeRatio: number | null },
  policy: TryPlanPolicy,
): TryPlan {
  const { firstTokenMsMax, firstTokenMsMin } = policy;
  const ttftMs = msOf(predicted.ttftSeconds);
  const itlMs = msOf(predicted.interTokenSeconds);
  const wanted =
    ttftMs === null ? firstTokenMsMax : policy.firstTokenFactor * ttftMs + policy.firstTokenSlackMs;
  const firstTokenTimeoutMs = isWarm
    ? Math.min(firstTokenMsMax, Math.max(firstTokenMsMin, wanted))
    : firstTokenMsMax;
  const slowMs = policy.slowTokenFactor * (itlMs ?? 0);
  const p90 = Math.max(1, predicted.outputTokensP90);
  return {
    firstTokenTimeoutMs,
    overdueMs: itlMs === null ? null : firstTokenTimeoutMs + policy.outputFactor * p90 * slowMs,
    overdueTokens: p90,
    endMs: (ttftMs ?? 0) + (itlMs ?? 0) * Math.max(0, predicted.outputTokens - 1),
    hedgeMs:
      hedgeRatio === null || ttftMs === null
        ? null
        : Math.max(policy.hedgeMsMin, Math.max(hedgeRatio, policy.hedgeFactor) * ttftMs),
  };
}
