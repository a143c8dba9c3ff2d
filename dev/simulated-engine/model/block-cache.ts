/** Tokens per KV block: vLLM's default, routing.md 14. */
export const blockTokens = 16;

/** Key of a block that is shared with nobody. */
export const privateBlockKey = 0;

/**
 * Paged KV memory with a prefix cache: blocks keep their content after the last reader has left and are taken
 * again oldest first. Every operation is O(1) per block; memory is about 20 bytes per block.
 */
export interface BlockCache {
  readonly blocks: number;
  /** Blocks that nobody reads: what can be allocated. */
  freeBlocks(): number;
  /** Takes the least recently used free block and forgets its content; -1 when none is free. */
  allocate(): number;
  /** Takes the cached block with that key for one more reader; -1 when it is not cached. */
  acquire(key: number): number;
  /** Whether a block with that key is cached, without touching its age. */
  has(key: number): boolean;
  /** Gives a full block its key so that later prompts find it. A key that another block has stays with that block. */
  publish(block: number, key: number): void;
  /** One reader leaves. The block becomes the most recently used of the free ones. */
  release(block: number): void;
  /** Forgets all cached content of free blocks. */
  clear(): void;
}

/** Makes a cache of `blocks` empty blocks. @throws RangeError unless `blocks` is a positive integer. */
export function createBlockCache(blocks: number): BlockCache {
  if (!Number.isInteger(blocks) || blocks < 1)
    throw new RangeError(`KV blocks: got ${blocks}, wanted a positive integer`);
  // A doubly linked list over arrays; slot `blocks` is the sentinel: next = oldest free block, previous = newest.
  const next = new Int32Array(blocks + 1);
  const previous = new Int32Array(blocks + 1);
  const readers = new Int32Array(blocks);
  const keys = new Float64Array(blocks);
  const byKey = new Map<number, number>();
  const sentinel = blocks;
  let free = blocks;
  for (let slot = 0; slot <= blocks; slot += 1) {
    next[slot] = slot === blocks ? 0 : slot + 1;
    previous[slot] = slot === 0 ? blocks : slot - 1;
  }

  function unlink(block: number): void {
    const before = previous[block] ?? sentinel;
    const after = next[block] ?? sentinel;
    next[before] = after;
    previous[after] = before;
    free -= 1;
  }
  function forget(block: number): void {
    const key = keys[block] ?? privateBlockKey;
    if (key === privateBlockKey) return;
    byKey.delete(key);
    keys[block] = privateBlockKey;
  }

  return {
    blocks,
    freeBlocks: () => free,
    has: (key) => byKey.has(key),
    allocate() {
      const block = next[sentinel] ?? sentinel;
      if (block === sentinel) return -1;
      unlink(block);
      forget(block);
      readers[block] = 1;
      return block;
    },
    acquire(key) {
      const block = byKey.get(key);
      if (block === undefined) return -1;
      const count = readers[block] ?? 0;
      if (count === 0) unlink(block);
      readers[block] = count + 1;
      return block;
    },
    publish(block, key) {
      if (key === privateBlockKey || byKey.has(key) || keys[block] !== privateBlockKey) return;
      keys[block] = key;
      byKey.set(key, block);
    },
    release(block) {
      const count = (readers[block] ?? 0) - 1;
      readers[block] = count;
      if (count > 0) return;
      const newest = previous[sentinel] ?? sentinel;
      next[newest] = block;
      previous[block] = newest;
      next[block] = sentinel;
      previous[sentinel] = block;
      free += 1;
    },
    clear() {
      for (let block = 0; block < blocks; block += 1) if (readers[block] === 0) forget(block);
    },
  };
}
