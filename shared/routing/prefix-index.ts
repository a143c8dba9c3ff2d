/**
 * What each shard of a cell is thought to hold of prompts seen before: keys of prompt chunks per shard, least recently used
 * forgotten first at the shard's KV capacity. An estimate: engines evict by rules of their own. Keys must chain: equal keys
 * mean equal prefixes up to there.
 */
export interface PrefixIndex {
  /** Writes into `into`, by shard position, how many leading chunks of `keys` each shard holds. O(shards × chunks held). */
  match(keys: readonly number[], into: number[]): void;
  /** The prompt was sent to a shard: its chunks are there from now on, and the most recent ones. O(chunks). */
  insert(shard: number, keys: readonly number[]): void;
  /** The shard lost its memory. */
  clear(shard: number): void;
}

/** Makes an index without knowledge; `chunksMax` is each shard's capacity in chunks, by position. */
export function createPrefixIndex(chunksMax: readonly number[]): PrefixIndex {
  // A Map iterates in the order of insertion: deleting and setting a key again makes it the most recent.
  const held = chunksMax.map(() => new Map<number, true>());

  return {
    match(keys, into) {
      for (let shard = 0; shard < held.length; shard += 1) {
        const chunks = held[shard];
        let found = 0;
        if (chunks !== undefined && chunks.size > 0)
          while (found < keys.length && chunks.has(keys[found] ?? 0)) found += 1;
        into[shard] = found;
      }
      into.length = held.length;
    },
    insert(shard, keys) {
      const chunks = held[shard];
      const most = chunksMax[shard] ?? 0;
      if (chunks === undefined) return;
      // From the end: the tail of a chain is of no use without its head, so it is forgotten first.
      for (let at = Math.min(keys.length, most) - 1; at >= 0; at -= 1) {
        const key = keys[at] ?? 0;
        chunks.delete(key);
        chunks.set(key, true);
      }
      for (const key of chunks.keys()) {
        if (chunks.size <= most) break;
        chunks.delete(key);
      }
    },
    clear(shard) {
      held[shard]?.clear();
    },
  };
}
