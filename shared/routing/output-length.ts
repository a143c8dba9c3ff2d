/** Lengths of answers seen so far: mean and variance of the natural logarithm, exponentially weighted. */
export interface OutputLength {
  readonly meanLog: number;
  readonly varianceLog: number;
  /** Answers seen, at most {@link samplesMax}. */
  readonly samples: number;
}

/** Weight of a new answer once there are many: about the last twenty count. */
const newestShare = 0.05;
const samplesMax = 20;
/** Quantile of the normal distribution: 90 % lie below the mean + 1.2816 standard deviations. */
const z90 = 1.2816;

/**
 * Before anything is seen: median 150 tokens, and 90 % below about 700. Between the conversation medians of the BurstGPT and
 * Azure traces (our choice); a tenant's own answers outweigh it after a handful.
 */
export const unseenOutputLength: OutputLength = {
  meanLog: Math.log(150),
  varianceLog: 1.44,
  samples: 0,
};

/** The lengths after an answer of `tokens`; one of no tokens, or no number, changes nothing. */
export function observeOutputLength(state: OutputLength, tokens: number): OutputLength {
  if (!(tokens >= 1) || !Number.isFinite(tokens)) return state;
  const samples = Math.min(samplesMax, state.samples + 1);
  // The first answers count more, so that the start value is left soon.
  const share = Math.max(newestShare, 1 / (samples + 1));
  const off = Math.log(tokens) - state.meanLog;
  return {
    meanLog: state.meanLog + share * off,
    varianceLog: (1 - share) * (state.varianceLog + share * off * off),
    samples,
  };
}

/** The length to expect (median) and to plan for (90 % are shorter), tokens ≥ 1; `tokensMax` is what the client allows. */
export function expectOutputTokens(
  state: OutputLength,
  tokensMax: number | null,
): { readonly expected: number; readonly p90: number } {
  const most = tokensMax ?? Infinity;
  const deviation = Math.sqrt(state.varianceLog);
  const within = (tokens: number): number => Math.max(1, Math.min(most, Math.round(tokens)));
  return {
    expected: within(Math.exp(state.meanLog)),
    p90: within(Math.exp(state.meanLog + z90 * deviation)),
  };
}
