import type { TurnEffect, TryResult } from "./turn-events.ts";
import type { ShardFailure } from "./turn-failure.ts";
import { endHedge } from "./turn-hedge.ts";
import type { TurnState } from "./turn-state.ts";

/** A dispatch that ended by `failure`. */
export function failedBy(failure: ShardFailure): TryResult {
  return { kind: "failed", failure };
}

/** The end of all dispatches that run. */
export function release(state: TurnState, result: TryResult): TurnEffect[] {
  return [...endHedge(state, "dropped", { kind: "aborted" }).effects, ...releaseOwn(state, result)];
}

/** The end of the current dispatch: aborted first, so that a shard that still works on it stops. */
export function releaseOwn(state: TurnState, result: TryResult): TurnEffect[] {
  if (state.phase !== "running" || state.shard === null) return [];
  const releaseShard: TurnEffect = {
    kind: "releaseShard",
    try: state.tries,
    shard: state.shard,
    result,
  };
  return result.kind === "succeeded"
    ? [releaseShard]
    : [{ kind: "abortShard", try: state.tries }, releaseShard];
}
