import type { ShardId } from "../residency/brands.ts";

/**
 * How a turn passed its home by. `once`: the home could have taken it, but later, or had no room for it. `pays`: it was so much
 * later that the turns to come make up for what the conversation has cached there. `held`: so many of the home's conversations have
 * moved away that this one does not, for now (move-budget.ts).
 */
export type Spill = "once" | "pays" | "held";

/** Turns in a row that went elsewhere before the conversation moves (our choice): one spill may be a burst, two are a trend. */
const spillsMax = 2;
/** A conversation that has just moved stays for this long and this many turns, so that it does not go to and fro (our choice). */
const settledMs = 60_000;
const settledTurns = 2;
/** Moves of one conversation within {@link movesWithinMs}, forced ones not counted (our choice). */
const movesMax = 3;
const movesWithinMs = 600_000;
/** Turns that a conversation is expected to go on for, and how far the gain must exceed the cost of computing it anew. */
const turnsExpected = 3;
const gainMin = 1.5;

/** Where a conversation's cache is, and how often it was passed by. */
export interface Home {
  readonly shard: ShardId | null;
  readonly spillsInRow: number;
  /** Turns since it last moved; counted as far as it matters. */
  readonly turnsSinceMove: number;
  /** When it moved of its own accord, ms since the epoch; the latest three. */
  readonly movedAtMs: readonly number[];
}

/** A conversation that has no home yet. */
export const noHome: Home = {
  shard: null,
  spillsInRow: 0,
  turnsSinceMove: settledTurns,
  movedAtMs: [],
};

/** Whether turns to come make up for a move: `gap × turns` against the time to compute there what only the home has. */
export function movePays(move: {
  /** By how much the first token comes later at the home. */
  readonly gapSeconds: number;
  /** Of the conversation, and what the other shard has of it. */
  readonly contextTokens: number;
  readonly cachedTokens: number;
  readonly prefillTokensPerSecond: number;
}): boolean {
  const missing = Math.max(0, move.contextTokens - move.cachedTokens);
  return move.gapSeconds * turnsExpected > (gainMin * missing) / move.prefillTokensPerSecond;
}

/**
 * The home after a turn that `shard` completed. A first turn binds; a home that could not be used is left at once; a spill
 * keeps it until it is the second in a row or pays, and then only when the last move is some time ago. Bind after success,
 * never before.
 */
export function nextHome(home: Home, shard: ShardId, spill: Spill | null, nowMs: number): Home {
  const turnsSinceMove = Math.min(settledTurns, home.turnsSinceMove + 1);
  if (spill === null || home.shard === null || shard === home.shard)
    return { ...home, shard, spillsInRow: 0, turnsSinceMove };
  if (spill === "held") return { ...home, turnsSinceMove };
  const spillsInRow = Math.min(spillsMax, home.spillsInRow + 1);
  const isWanted = spill === "pays" || spillsInRow >= spillsMax;
  if (!isWanted || !isSettled({ ...home, turnsSinceMove }, nowMs))
    return { ...home, spillsInRow, turnsSinceMove };
  const movedAtMs = [...home.movedAtMs, nowMs].slice(-movesMax);
  return { shard, spillsInRow: 0, turnsSinceMove: 0, movedAtMs };
}

function isSettled({ movedAtMs, turnsSinceMove }: Home, nowMs: number): boolean {
  const last = movedAtMs.at(-1);
  if (last === undefined) return true;
  const recent = movedAtMs.filter((atMs) => nowMs - atMs < movesWithinMs).length;
  return nowMs - last >= settledMs && turnsSinceMove >= settledTurns && recent < movesMax;
}
