import { unitHash } from "./hash.ts";

/** A candidate of a rendezvous: its weight is relative, > 0. */
export interface WeightedTarget<Id extends string> {
  readonly id: Id;
  readonly weight: number;
}

/**
 * The candidates by weighted rendezvous hashing (Thaler and Ravishankar, 1998; weights by `-w / ln h`), best first. Removing
 * one moves only its own keys; a target of twice the weight wins twice as many. O(n log n). Candidates without weight last.
 */
export function rankByRendezvous<Id extends string>(
  key: string,
  targets: readonly WeightedTarget<Id>[],
): readonly Id[] {
  return targets
    .map(({ id, weight }) => ({
      id,
      score: weight > 0 ? -weight / Math.log(unitHash(`${key}\u0000${id}`)) : 0,
    }))
    .toSorted((left, right) => right.score - left.score || (left.id < right.id ? -1 : 1))
    .map(({ id }) => id);
}
