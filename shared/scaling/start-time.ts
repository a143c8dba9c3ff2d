/** Share of starts that the plan is made for (routing rules for scaling: the P95 of a cold start). */
const coveredShare = 0.95;
/** The declared time counts as much as so many measured ones: few starts are little to know a P95 by (our choice). */
const declaredWeight = 5;
/** However long or short the measured ones were, the plan counts with so many times the declared one at most, and its inverse at least. */
const declaredFactorMax = 4;

/**
 * How long a replica of a pool takes from being asked for to its first answer, seconds: between the P95 of those that were measured
 * and the declared time, the nearer to what was measured the more of them there are, and never far from what was declared. The mean
 * is taken of logarithms, as times of starts spread by factors.
 */
export function startSecondsOf(startsMs: readonly number[], declaredSeconds: number): number {
  const measured = startsMs
    .filter((one) => Number.isFinite(one) && one >= 0)
    .toSorted((left, right) => left - right);
  const declared = Math.max(1, declaredSeconds);
  const p95Ms = measured[Math.ceil(coveredShare * measured.length) - 1];
  if (p95Ms === undefined) return declaredSeconds;
  const weight = measured.length / (measured.length + declaredWeight);
  const ratio = (Math.max(1_000, p95Ms) / 1_000 / declared) ** weight;
  return declared * Math.min(declaredFactorMax, Math.max(1 / declaredFactorMax, ratio));
}
