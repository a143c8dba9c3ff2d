import { end, ignored } from "./turn-ending.ts";
import type { TurnStep } from "./turn-ending.ts";
import type { TurnEffect } from "./turn-events.ts";
import type { NoShardReason } from "./turn-failure.ts";
import { interruptedError } from "./turn-failure.ts";
import type { TurnContext } from "./turn-lateness.ts";
import type { TurnState } from "./turn-state.ts";

/** Whether another cell had the answer before: then it is not passed on again for want of a shard as long as it may wait here. */
function hasMoved({ request }: TurnContext): boolean {
  return request.hop > 0 || request.resume !== null;
}

/** Whether another cell is thought to go on with the answer at once. */
function hasBetterPlace(context: TurnContext): boolean {
  return !hasMoved(context) && context.conditions.elsewhere.hasWarmNeighbour;
}

/** Whether waiting can bring a shard for which no shard was chosen. */
export function isWorthAWait(state: TurnState, reason: NoShardReason): boolean {
  return reason === "unhealthy" || (reason === "noShard" && state.excluded.length > 0);
}

/**
 * Lets a begun answer wait for a shard that can go on with it, or wait on after one that could not: at most `waitMsMax` from when
 * it began to wait, and over at most `triesMax` shards. Null when its time or its tries are over, or another cell has a shard that
 * runs. Nothing is sent to a shard to find out whether it is back: the scheduler is told by its probes.
 */
export function beginWait(state: TurnState, context: TurnContext): TurnState | null {
  const { nowMs, policy } = context;
  if (policy.waitMsMax <= 0 || hasBetterPlace(context)) return null;
  if (state.waitUntilMs === null) {
    return { ...state, excluded: [], triesInVain: 0, waitUntilMs: nowMs + policy.waitMsMax };
  }
  const isOver = nowMs >= state.waitUntilMs || state.triesInVain >= policy.triesMax;
  return isOver ? null : { ...state, excluded: [] };
}

/** A turn that waits, after the effects `before`. */
export function waitingStep(state: TurnState, before: readonly TurnEffect[]): TurnStep {
  const choose: TurnEffect = { kind: "chooseShard", excluded: [], isPatient: true };
  return { state, effects: [...before, choose], reason: "waiting" };
}

/**
 * Whether another cell may go on with what this one cannot. After a wait in vain only one that was not asked before, or has a shard by
 * now: cells that have none do not pass an answer round.
 */
export function mayMoveOn(state: TurnState, context: TurnContext): boolean {
  if (state.waitUntilMs === null || !hasMoved(context)) return true;
  return context.conditions.elsewhere.hasWarmNeighbour;
}

/** Time passes while the turn waits: it is over, or another cell has a shard by now. */
export function tickWait(state: TurnState, context: TurnContext): TurnStep {
  if (state.phase !== "choosing" || state.waitUntilMs === null) return ignored(state);
  const isOver = context.nowMs >= state.waitUntilMs;
  if (!isOver && !hasBetterPlace(context)) return ignored(state);
  return end(state, isOver ? "waitedOut" : "interrupted", {
    status: "failed",
    error: interruptedError,
    mayMove: mayMoveOn(state, context),
  });
}
