import type { ShardId } from "#shared/residency/brands.ts";

/** Conversations that are remembered; past it the one longest without a turn goes. About 150 bytes each. */
const conversationsMax = 50_000;

/** Where a conversation's last turn ran, and what its shard then held of it. */
export interface HomeRecord {
  readonly shard: ShardId;
  /** Prompt and answer. */
  readonly tokens: number;
  readonly atMs: number;
}

/** The last turns of a cell's conversations. */
export interface HomeMemory {
  find(conversationId: string): HomeRecord | null;
  note(conversationId: string, record: HomeRecord): void;
}

/** The memory of one cell; bounded, lost with the process. */
export function createHomeMemory(): HomeMemory {
  const records = new Map<string, HomeRecord>();
  return {
    find: (conversationId) => records.get(conversationId) ?? null,
    note(conversationId, record) {
      // Deleted first, so that the map's order is that of the last turns.
      records.delete(conversationId);
      records.set(conversationId, record);
      if (records.size <= conversationsMax) return;
      for (const oldest of records.keys()) {
        records.delete(oldest);
        break;
      }
    },
  };
}
