/** A shard with the weight that its signals give it. */
export interface WeighedShard {
  readonly id: string;
  readonly capacity: number;
  /** 0..1; 0: to be taken out. */
  readonly weight: number;
}

/**
 * The weights with at most `shareMax` of the capacity at 0: the first of them are taken out, in their order, as long as they
 * fit; the others keep `cappedWeight`. What takes out most of a fleet is more likely the judge's error, or load, than theirs.
 */
export function capEjections(
  shards: readonly WeighedShard[],
  shareMax: number,
  cappedWeight: number,
): ReadonlyMap<string, number> {
  const total = shards.reduce((sum, { capacity }) => sum + capacity, 0);
  let left = shareMax * total;
  return new Map(
    shards.map(({ capacity, id, weight }) => {
      if (weight > 0) return [id, weight];
      if (capacity > left) return [id, cappedWeight];
      left -= capacity;
      return [id, 0];
    }),
  );
}
