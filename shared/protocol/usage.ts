/** Tokens of one turn, as OpenAI counts them. All are whole numbers, 0 or more. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Of the prompt tokens, those found in the engine's prefix cache. */
  readonly cachedTokens: number;
  /** Of the completion tokens, those of reasoning. */
  readonly reasoningTokens: number;
}

/** A turn that used nothing. */
export const noUsage: Usage = {
  promptTokens: 0,
  completionTokens: 0,
  cachedTokens: 0,
  reasoningTokens: 0,
};
