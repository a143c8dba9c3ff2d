import type { ShardId } from "#shared/residency/brands.ts";

/** A conversation without a turn for this long is not active, ms. */
const activeMs = 600_000;
/** Conversations that are counted; past it the one longest without a turn is not. About 100 bytes each. */
const conversationsMax = 50_000;

interface Turn {
  readonly shard: ShardId;
  readonly atMs: number;
}

/** How many conversations had their last turn on each shard, in the last ten minutes. */
export interface ActiveConversations {
  note(conversationId: string, shard: ShardId, nowMs: number): void;
  on(shard: ShardId, nowMs: number): number;
}

/** None yet. Each call is O(1) on average. */
export function createActiveConversations(): ActiveConversations {
  const turns = new Map<string, Turn>();
  const counts = new Map<ShardId, number>();

  function count(shard: ShardId, change: number): void {
    counts.set(shard, (counts.get(shard) ?? 0) + change);
  }

  /** The map's order is that of the last turns: what is over is in front. */
  function forget(nowMs: number): void {
    for (const [conversationId, { atMs, shard }] of turns) {
      if (nowMs - atMs <= activeMs && turns.size <= conversationsMax) return;
      turns.delete(conversationId);
      count(shard, -1);
    }
  }

  return {
    note(conversationId, shard, nowMs) {
      const before = turns.get(conversationId);
      if (before !== undefined) {
        turns.delete(conversationId);
        count(before.shard, -1);
      }
      turns.set(conversationId, { shard, atMs: nowMs });
      count(shard, 1);
      forget(nowMs);
    },
    on(shard, nowMs) {
      forget(nowMs);
      return counts.get(shard) ?? 0;
    },
  };
}
