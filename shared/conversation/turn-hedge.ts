import type { TurnRequest } from "../protocol/internal/turn-request.ts";
import type { TurnConditions } from "./turn-conditions.ts";
import type {
  HedgeResult,
  TurnEffect,
  TurnEvent,
  TurnStepReason,
  TryResult,
} from "./turn-events.ts";
import type { LateTurn } from "./turn-lateness.ts";
import { beginTry } from "./turn-state.ts";
import type { TurnState } from "./turn-state.ts";

/** What became of a turn's hedge: the next state, and what is to be done first. */
export interface HedgeStep {
  readonly state: TurnState;
  readonly effects: readonly TurnEffect[];
}

interface Step extends HedgeStep {
  readonly reason: TurnStepReason;
}

/** Whether the event comes from the hedge's dispatch. */
export function isOfHedge(state: TurnState, dispatched: number): boolean {
  return state.hedge.kind === "running" && state.hedge.try === dispatched;
}

/** Whether a second shard is to be asked the same now: the first is late for its first token, and conditions allow it. */
export function isHedgeDue(
  state: LateTurn,
  nowMs: number,
  conditions: Pick<TurnConditions, "mayHedge">,
): boolean {
  const { dispatchedAtMs, firstAtMs, plan } = state.try;
  if (state.hedge.kind !== "none" || state.isBegun || firstAtMs !== null) return false;
  const hedgeMs = plan?.hedgeMs ?? null;
  return hedgeMs !== null && nowMs - dispatchedAtMs >= hedgeMs && conditions.mayHedge;
}

/** Asks a second shard when the first one is late for its first token and conditions allow it; null when not. */
export function beginHedge(
  state: TurnState,
  nowMs: number,
  conditions: TurnConditions,
): Step | null {
  if (!isHedgeDue(state, nowMs, conditions)) return null;
  return {
    state: { ...state, hedge: { kind: "choosing" } },
    effects: [{ kind: "chooseHedge", excluded: state.excluded }],
    reason: "hedged",
  };
}

/** Dispatches the turn to the second shard, or gives its place back where the first has spoken or failed meanwhile. */
export function takeHedge(
  state: TurnState,
  event: TurnEvent & { kind: "hedgeChosen" },
  request: TurnRequest,
  nowMs: number,
): Step {
  if (state.phase !== "running" || state.hedge.kind !== "choosing") {
    return { state, effects: [{ kind: "returnHedge" }], reason: "ignored" };
  }
  const dispatched = state.dispatches + 1;
  const { path, body } = request.engine;
  const { plan = null, shard } = event;
  return {
    state: {
      ...state,
      dispatches: dispatched,
      triesInVain: state.triesInVain + 1,
      excluded: [...state.excluded, shard],
      hedge: { kind: "running", try: dispatched, shard, dispatchedAtMs: nowMs, plan },
    },
    effects: [{ kind: "dispatch", try: dispatched, shard, path, body }],
    reason: "hedged",
  };
}

/** Ends the hedge, if there is one: it is aborted and its place released. */
export function endHedge(state: TurnState, result: HedgeResult, how: TryResult): HedgeStep {
  const { hedge } = state;
  const spent: TurnState = { ...state, hedge: { kind: "spent" } };
  if (hedge.kind === "choosing") return { state: spent, effects: [] };
  if (hedge.kind !== "running") return { state, effects: [] };
  return {
    state: spent,
    effects: [
      { kind: "abortShard", try: hedge.try },
      { kind: "releaseShard", try: hedge.try, shard: hedge.shard, result: how },
      { kind: "hedgeEnded", result },
    ],
  };
}

/**
 * Makes the hedge the turn's dispatch. `released` ends the one before; nothing of that one is delivered, billed or remembered
 * but the prompt's token ids, which are the same.
 */
export function promoteHedge(
  state: TurnState,
  released: readonly TurnEffect[],
  result: "won" | "replaced",
): HedgeStep {
  const { hedge } = state;
  if (hedge.kind !== "running") return { state, effects: released };
  return {
    state: {
      ...state,
      tries: hedge.try,
      shard: hedge.shard,
      usage: null,
      try: beginTry(hedge.dispatchedAtMs, hedge.plan),
      hedge: { kind: "spent" },
    },
    effects: [...released, { kind: "hedgeEnded", result }],
  };
}
