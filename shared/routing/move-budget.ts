import type { Spill } from "./next-home.ts";

/** Share of the conversations of a shard that may move away in a minute of their own accord: a burst must not empty its cache. */
const sharePerMinute = 0.05;
/** A shard with few conversations may lose one in a while all the same. */
const movesMin = 1;

/** Moves that a shard's conversations may still make. Plain data. */
export interface MoveBudget {
  readonly moves: number;
  readonly atMs: number;
}

/** The budget of a shard that nobody has left yet. */
export function newMoveBudget(nowMs: number): MoveBudget {
  return { moves: Number.POSITIVE_INFINITY, atMs: nowMs };
}

/** What a spill takes: the second in a row moves a conversation, so that two of them make one move. */
const costs: Readonly<Record<"once" | "pays", number>> = { once: 0.5, pays: 1 };

/**
 * The spill as it counts, and what is left of the budget: `held` where the shard's conversations have moved away often enough, at
 * most 5 % of those `active` a minute. Forced moves are no spills and cost nothing.
 */
export function chargeMove(
  budget: MoveBudget,
  spill: "once" | "pays",
  active: number,
  nowMs: number,
): { readonly budget: MoveBudget; readonly spill: Spill } {
  const perMinute = sharePerMinute * active;
  const most = Math.max(movesMin, perMinute);
  const earned = (Math.max(0, nowMs - budget.atMs) * perMinute) / 60_000;
  const moves = Math.min(most, budget.moves + earned);
  const cost = costs[spill];
  if (moves < cost) return { budget: { moves, atMs: nowMs }, spill: "held" };
  return { budget: { moves: moves - cost, atMs: nowMs }, spill };
}
