import type { ShardId } from "../residency/brands.ts";
import type { SelectionReason } from "./score-shard.ts";

/** Turns in a row that went elsewhere before the conversation moves (our choice): one spill may be a burst, two are a trend. */
const spillsMax = 2;

/** Where a conversation's cache is, and how often it was passed by. */
export interface Home {
  readonly shard: ShardId | null;
  readonly spillsInRow: number;
}

/**
 * The home after a turn that `shard` completed: a first turn binds, a spill keeps the old home until it is the second in a
 * row, and a home that could not be used is left at once. Bind after success, never before.
 */
export function nextHome(home: Home, shard: ShardId, reason: SelectionReason): Home {
  if (reason !== "spill" || home.shard === null || shard === home.shard)
    return { shard, spillsInRow: 0 };
  const spillsInRow = home.spillsInRow + 1;
  return spillsInRow >= spillsMax ? { shard, spillsInRow: 0 } : { shard: home.shard, spillsInRow };
}
