import type { HealthPolicy } from "./health-policy.ts";

/** How a shard's requests ended in the last window. */
export interface SuccessCount {
  readonly id: string;
  readonly successes: number;
  readonly failures: number;
}

/**
 * Shards whose share of successes is far below the others' (Envoy, outlier detection by success rate): mean − deviations × σ,
 * among at least so many shards with at least so many requests each.
 */
export function findOutliers(
  counts: readonly SuccessCount[],
  { outlierDeviations, outlierRequestsMin, outlierShardsMin }: HealthPolicy,
): readonly string[] {
  const rates = counts
    .filter(({ failures, successes }) => failures + successes >= outlierRequestsMin)
    .map(({ failures, id, successes }) => ({ id, rate: successes / (failures + successes) }));
  if (rates.length < outlierShardsMin) return [];
  const mean = rates.reduce((sum, { rate }) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, { rate }) => sum + (rate - mean) ** 2, 0) / rates.length;
  const threshold = mean - outlierDeviations * Math.sqrt(variance);
  return rates.filter(({ rate }) => rate < threshold).map(({ id }) => id);
}
