import type { ModelDescription } from "../config/topology.ts";

/** What tokens of a model cost, in whole micro-dollars, rounded up; 0 for a model without a price. */
export function costMicroUsd(
  model: Pick<ModelDescription, "priceMicroUsdPerMillionTokens"> | null,
  tokens: { readonly prompt: number; readonly completion: number },
): number {
  const price = model?.priceMicroUsdPerMillionTokens;
  if (price === undefined) return 0;
  return Math.ceil((tokens.prompt * price.input + tokens.completion * price.output) / 1_000_000);
}
