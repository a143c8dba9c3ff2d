/** Tokens that an image counts for: one of 1,024 × 1,024 in high detail (OpenAI's vision guide: 85 + 4 × 170). */
export const imageTokens = 765;

/** Tokens of `text`, estimated as characters / 4, rounded up. For admission and truncation, never for a bill. */
export function estimateTokens(text: string): number {
  return Math.ceil(text.length / 4);
}
