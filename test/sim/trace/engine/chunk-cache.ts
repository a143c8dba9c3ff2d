import { chunkTokens } from "#dev/capacity/request-trace.ts";

/** Tokens per KV block: vLLM's default. */
export const blockTokens = 16;
/** KV blocks of one chunk. */
export const blocksPerChunk = chunkTokens / blockTokens;

/** A chunk in KV memory. While somebody reads it, it is not in the list of idle ones. */
export interface CachedChunk {
  readonly key: number;
  readers: number;
  older: CachedChunk | null;
  newer: CachedChunk | null;
}

/**
 * KV memory in blocks of 16 tokens with a prefix cache in chunks of 512: a chunk stays after its last reader has left and goes
 * when room is needed, least recently read first. Every operation is O(1) per chunk.
 */
export interface ChunkCache {
  readonly blocks: number;
  /** Blocks that could be taken now: unused ones and those of chunks that nobody reads. */
  available(): number;
  /** One more reader of the chunk; null: it is not here. */
  acquire(key: number): CachedChunk | null;
  /** Takes blocks that nobody else will read; the caller has asked {@link available}. */
  take(blocks: number): void;
  give(blocks: number): void;
  /** Turns the caller's own blocks into a chunk that others find, with the caller as its reader; null: another has it already. */
  publish(key: number): CachedChunk | null;
  /** One reader leaves; from the end of a chain, because its tail is of no use without its head. */
  release(chunk: CachedChunk): void;
  clear(): void;
}

/** Makes empty memory. */
export function createChunkCache(blocks: number): ChunkCache {
  const byKey = new Map<number, CachedChunk>();
  let unused = blocks;
  let idleChunks = 0;
  let oldest: CachedChunk | null = null;
  let newest: CachedChunk | null = null;

  function unlink(chunk: CachedChunk): void {
    if (chunk.older === null) oldest = chunk.newer;
    else chunk.older.newer = chunk.newer;
    if (chunk.newer === null) newest = chunk.older;
    else chunk.newer.older = chunk.older;
    chunk.older = null;
    chunk.newer = null;
    idleChunks -= 1;
  }

  return {
    blocks,
    available: () => unused + idleChunks * blocksPerChunk,
    acquire(key) {
      const chunk = byKey.get(key);
      if (chunk === undefined) return null;
      if (chunk.readers === 0) unlink(chunk);
      chunk.readers += 1;
      return chunk;
    },
    take(count) {
      unused -= count;
      while (unused < 0 && oldest !== null) {
        byKey.delete(oldest.key);
        unlink(oldest);
        unused += blocksPerChunk;
      }
    },
    give(count) {
      unused += count;
    },
    publish(key) {
      if (byKey.has(key)) return null;
      const chunk: CachedChunk = { key, readers: 1, older: null, newer: null };
      byKey.set(key, chunk);
      return chunk;
    },
    release(chunk) {
      chunk.readers -= 1;
      if (chunk.readers > 0) return;
      chunk.older = newest;
      if (newest === null) oldest = chunk;
      else newest.newer = chunk;
      newest = chunk;
      idleChunks += 1;
    },
    clear() {
      byKey.clear();
      unused = blocks;
      idleChunks = 0;
      oldest = null;
      newest = null;
    },
  };
}
