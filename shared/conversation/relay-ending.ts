import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { TurnOutcome } from "../protocol/internal/turn-outcome.ts";
import { noUsage } from "../protocol/usage.ts";
import type {
  CutReason,
  FrameRun,
  RelayEffect,
  RelayPolicy,
  RelaySegment,
  RelayState,
  RelayStep,
} from "./relay-state.ts";

/** Writes to the client, where there is one that streams. */
export function writes(state: RelayState, bytes: Uint8Array): readonly RelayEffect[] {
  return state.isClientGone || !state.isStreamed ? [] : [{ kind: "write", bytes }];
}

/** Frames in a row as one segment; null for none. */
export function segmentOf(runs: readonly FrameRun[]): RelaySegment | null {
  const first = runs[0];
  const last = runs.at(-1);
  if (first === undefined || last === undefined) return null;
  return { fromSeq: first.fromSeq, toSeq: last.toSeq, parts: runs.map(({ bytes }) => bytes) };
}

function failedOutcome(state: RelayState, error: ErrorOutcome, nowMs: number): TurnOutcome {
  const { turnId, attempt, cell, region } = state.turn;
  const known = state.outcome ?? state.lostOutcome;
  return {
    v: 1,
    turnId,
    attempt,
    status: "failed",
    error,
    mayMove: false,
    continuations: known?.continuations ?? 0,
    cell,
    region,
    shard: known?.shard ?? null,
    rejected: known?.rejected ?? [],
    // What the cell counted is billed even when the end of its stream was lost.
    usage: known?.usage ?? noUsage,
    finishReasons: [],
    items: [],
    body: null,
    queueWaitMs: known?.queueWaitMs ?? 0,
    ttftMs: known?.ttftMs ?? null,
    totalMs: Math.max(0, nowMs - state.startedAtMs),
  };
}

/** Asks for `completeTurn()` now, or after the checkpoint that is under way: two writers of one journal must not race. */
export function complete(
  state: RelayState,
  final: { readonly outcome: TurnOutcome; readonly error: ErrorOutcome | null },
): RelayStep {
  const next: RelayState = { ...state, phase: "completing", final };
  if (state.checkpointToSeq !== null) return { state: next, effects: [] };
  const segment = segmentOf([...state.unacknowledged, ...state.terminal]);
  return { state: next, effects: [{ kind: "complete", segment, outcome: final.outcome }] };
}

/** The last step. */
export function finish(state: RelayState, error: ErrorOutcome | null): RelayStep {
  const outcome = state.final?.outcome ?? state.outcome;
  return {
    state: { ...state, phase: "finished" },
    effects: [{ kind: "finish", outcome, error }],
  };
}

/** Ends the turn with `error`: in the stream where one has begun, and durably where an object holds the turn. */
export function fail(
  state: RelayState,
  error: ErrorOutcome,
  nowMs: number,
  policy: RelayPolicy,
): RelayStep {
  const hasBegun = state.isStreamed && state.writtenSeq > 0;
  if (state.lane === "stateless") {
    const effects = hasBegun
      ? writes(state, policy.renderError(error, state.writtenSeq + 1, true).bytes)
      : [];
    const end = finish(state, error);
    return { state: end.state, effects: [...effects, ...end.effects] };
  }
  let terminal: readonly FrameRun[] = [];
  if (hasBegun) {
    const fromSeq = state.writtenSeq + 1;
    const { bytes, toSeq } = policy.renderError(error, fromSeq, true);
    terminal = [{ bytes, fromSeq, toSeq }];
  }
  return complete(
    { ...state, terminal },
    { outcome: failedOutcome({ ...state, terminal }, error, nowMs), error },
  );
}

/**
 * Ends a stream that the object does not hold for us any more: an error without an id, in no journal. Without an outcome:
 * what the turn came to, and what is paid for it, is what the object says.
 */
export function abandon(state: RelayState, error: ErrorOutcome, policy: RelayPolicy): RelayStep {
  const hasBegun = state.isStreamed && state.writtenSeq > 0;
  const end = finish({ ...state, final: null, outcome: null }, error);
  const effects = hasBegun
    ? writes(state, policy.renderError(error, state.writtenSeq + 1, false).bytes)
    : [];
  return { state: end.state, effects: [{ kind: "disconnect" }, ...effects, ...end.effects] };
}

/** The journal cannot keep up: what waits would outgrow what is held. */
export const unjournaled: ErrorOutcome = {
  code: "interrupted",
  message: "The answer could not be recorded as fast as it came. Resume the stream.",
};

/** Somebody else relays the turn. */
export const superseded: ErrorOutcome = {
  code: "interrupted",
  message: "Another attempt holds this turn. Resume the stream, or send again with the same key.",
};

/** What the client is told when a cell is lost and none goes on. */
export function lost(reason: CutReason): ErrorOutcome {
  if (reason === "deadline") {
    return {
      code: "deadline_exceeded",
      message: "The answer was not finished before its deadline.",
    };
  }
  return { code: "interrupted", message: "The answer broke off and could not be continued." };
}
