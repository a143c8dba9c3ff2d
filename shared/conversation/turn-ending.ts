import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { TurnEffect, TurnStepReason } from "./turn-events.ts";
import { release } from "./turn-release.ts";
import type { TurnState } from "./turn-state.ts";

/** The next state, what to do, and why. */
export interface TurnStep {
  readonly state: TurnState;
  readonly effects: readonly TurnEffect[];
  readonly reason: TurnStepReason;
}

/** How a turn ends that has no answer, or no whole one. */
export interface Ending {
  readonly status: "failed" | "cancelled";
  readonly error: ErrorOutcome;
  /** Whether another cell may go on. */
  readonly mayMove: boolean;
}

/** An event that changes nothing. */
export function ignored(state: TurnState): TurnStep {
  return { state, effects: [], reason: "ignored" };
}

/** Ends the turn from outside or by the time: whatever it does is stopped first. */
export function end(state: TurnState, reason: TurnStepReason, ending: Ending): TurnStep {
  const stop: TurnEffect[] =
    state.phase === "choosing" ? [{ kind: "stopChoosing" }] : release(state, { kind: "aborted" });
  return finishWith(state, stop, reason, ending);
}

/** Ends the turn after the effects `before`. */
export function finishWith(
  state: TurnState,
  before: readonly TurnEffect[],
  reason: TurnStepReason,
  ending: Ending,
): TurnStep {
  return {
    state: { ...state, phase: "ended" },
    effects: [...before, { kind: "fail", ...ending }],
    reason,
  };
}
