import { hash64, unitOf } from "./hash.ts";

/** A candidate of a rendezvous. Weights are relative; one of 0 or less comes last, whatever the key. */
export interface WeightedTarget<Id extends string> {
  readonly id: Id;
  readonly weight: number;
}

function rankByScore<Id extends string>(
  targets: readonly WeightedTarget<Id>[],
  unitFor: (id: Id) => number,
): readonly Id[] {
  return targets
    .map(({ id, weight }) => ({ id, score: weight > 0 ? -weight / Math.log(unitFor(id)) : 0 }))
    .toSorted((left, right) => right.score - left.score || (left.id < right.id ? -1 : 1))
    .map(({ id }) => id);
}

/**
 * The candidates by weighted rendezvous hashing, best first (Thaler and Ravishankar 1998; weights by `-w / ln h`, Schindelhauer
 * and Schomaker 2005). Removing one moves only the keys that it had; one of twice the weight gets twice the keys; raising a
 * weight moves keys only towards it. The order of `targets` does not matter. O(n log n).
 */
export function rankByRendezvous<Id extends string>(
  key: string,
  targets: readonly WeightedTarget<Id>[],
): readonly Id[] {
  const keyHash = hash64(key);
  return rankByScore(targets, (id) => unitOf(hash64(id, keyHash)));
}

/** The candidates in an order drawn anew each time: each comes first with a chance in proportion to its weight. */
export function rankByChance<Id extends string>(
  random: () => number,
  targets: readonly WeightedTarget<Id>[],
): readonly Id[] {
  // A source of [0, 1) may give 0, whose logarithm is not finite.
  return rankByScore(targets, () => Math.max(Number.MIN_VALUE, random()));
}
