import type { ErrorOutcome } from "../errors/gateway-error.ts";
import {
  abandon,
  complete,
  fail,
  finish,
  lost,
  segmentOf,
  superseded,
  unjournaled,
  writes,
} from "./relay-ending.ts";
import type {
  FenceAnswer,
  FrameRun,
  RelayEvent,
  RelayPolicy,
  RelayState,
  RelayStep,
  RelayTurn,
} from "./relay-state.ts";

/** A checkpoint of all that waits, when one is due and none is under way. */
function withCheckpoint(state: RelayState, nowMs: number, policy: RelayPolicy): RelayStep {
  const isDue =
    state.unacknowledgedBytes >= policy.checkpointBytes ||
    (state.waitingSinceMs !== null && nowMs - state.waitingSinceMs >= policy.checkpointIntervalMs);
  const segment = segmentOf(state.unacknowledged);
  if (!isDue || segment === null || state.checkpointToSeq !== null || state.phase !== "running") {
    return { state, effects: [] };
  }
  return {
    state: { ...state, checkpointToSeq: segment.toSeq },
    effects: [{ kind: "checkpoint", segment }],
  };
}

function takeStatelessFrames(state: RelayState, run: FrameRun, policy: RelayPolicy): RelayStep {
  const { outcome } = state;
  // The end of an answer that another cell may go on with is no end yet.
  if (outcome !== null && outcome.status === "failed" && outcome.mayMove) {
    return { state: { ...state, terminal: [...state.terminal, run] }, effects: [] };
  }
  const terminal = outcome === null ? state.terminal : [run];
  const givenBytes = state.givenBytes + run.bytes.length;
  let { given } = state;
  if (given !== null && givenBytes <= policy.heldBytesMax) given.push(run);
  else given = null;
  return {
    state: { ...state, writtenSeq: run.toSeq, terminal, given, givenBytes },
    effects: writes(state, run.bytes),
  };
}

function takeFrames(
  state: RelayState,
  run: FrameRun,
  nowMs: number,
  policy: RelayPolicy,
): RelayStep {
  if (state.lane === "stateless") return takeStatelessFrames(state, run, policy);
  if (state.outcome !== null) {
    return { state: { ...state, terminal: [...state.terminal, run] }, effects: [] };
  }
  if (state.unacknowledgedBytes + run.bytes.length > policy.heldBytesMax) {
    return abandon(state, unjournaled, policy);
  }
  const kept: RelayState = {
    ...state,
    writtenSeq: run.toSeq,
    unacknowledged: [...state.unacknowledged, run],
    unacknowledgedBytes: state.unacknowledgedBytes + run.bytes.length,
    waitingSinceMs: state.waitingSinceMs ?? nowMs,
  };
  const due = withCheckpoint(kept, nowMs, policy);
  return { state: due.state, effects: [...writes(state, run.bytes), ...due.effects] };
}

/**
 * A connection broke while a durable turn ran: its cell may well run on, and is asked for the rest first. Once per frame that
 * came, so that a cell which breaks off each time is given up.
 */
function mayReattach(state: RelayState, reason: string): boolean {
  return (
    state.lane === "durable" &&
    (reason === "connectionLost" || reason === "ended") &&
    state.reattachedSeq !== state.writtenSeq
  );
}

/** Whether another cell may be asked: within the bounds, and with all that the client was given. */
function mayMove(state: RelayState, policy: RelayPolicy): boolean {
  if (state.failovers >= policy.failoversMax) return false;
  const hasBegun = state.isStreamed && state.writtenSeq > 0;
  if (!hasBegun) return true;
  return (
    state.continuations < policy.continuationsMax &&
    (state.lane === "durable" || state.given !== null)
  );
}

/** Stateless lane: whether the last of the answer was written. One that another cell may go on with is held instead. */
function hasShownEnd({ isStreamed, lane, outcome, terminal }: RelayState): boolean {
  if (lane !== "stateless" || !isStreamed || outcome === null || terminal.length === 0)
    return false;
  return outcome.status !== "failed" || !outcome.mayMove;
}

/** A cell failed: it is asked again, or another one goes on where it stopped, or the turn ends with an error. */
function moveOrFail(
  state: RelayState,
  error: ErrorOutcome,
  reason: string,
  nowMs: number,
  policy: RelayPolicy,
): RelayStep {
  // The client has seen the end: whatever breaks after it is of no consequence.
  if (hasShownEnd(state)) return takeEnd(state, nowMs, policy);
  const lostOutcome = state.outcome ?? state.lostOutcome;
  const begun: RelayState = { ...state, outcome: null, lostOutcome, terminal: [] };
  if (mayReattach(state, reason)) {
    return {
      state: { ...begun, phase: "failingOver", reattachedSeq: state.writtenSeq },
      effects: [{ kind: "reattach", afterSeq: state.writtenSeq }],
    };
  }
  if (!mayMove(state, policy)) return fail(state, error, nowMs, policy);
  const hasBegun = state.isStreamed && state.writtenSeq > 0;
  return {
    state: {
      ...begun,
      phase: "failingOver",
      failovers: state.failovers + 1,
      continuations: state.continuations + (hasBegun ? 1 : 0),
    },
    effects: [
      {
        kind: "failover",
        segment: segmentOf(state.unacknowledged),
        given: state.lane === "stateless" ? segmentOf(state.given ?? []) : null,
        continuations: state.continuations,
        surplusTokens: state.surplusTokens,
        reason,
      },
    ],
  };
}

function takeEnd(state: RelayState, nowMs: number, policy: RelayPolicy): RelayStep {
  const { outcome } = state;
  if (outcome === null) return moveOrFail(state, lost("ended"), "ended", nowMs, policy);
  const hasAnswer = outcome.status === "completed" || outcome.status === "incomplete";
  // Without terminal frames a client that reads to the end could not tell a whole answer from a cut one.
  if (hasAnswer && state.isStreamed && state.terminal.length === 0) {
    return moveOrFail(state, lost("ended"), "ended", nowMs, policy);
  }
  if (hasAnswer && !state.isStreamed && outcome.body === null) {
    const error: ErrorOutcome = {
      code: "upstream_invalid",
      message: "The cell's answer had no body.",
    };
    return fail(state, error, nowMs, policy);
  }
  if (outcome.status === "failed" && outcome.mayMove && mayMove(state, policy)) {
    const error = outcome.error ?? lost("ended");
    return moveOrFail(state, error, "cellFailed", nowMs, policy);
  }
  if (state.lane === "stateless") {
    const end = finish(state, hasAnswer ? null : outcome.error);
    const held = outcome.mayMove ? state.terminal.flatMap(({ bytes }) => writes(state, bytes)) : [];
    return { state: end.state, effects: [...held, ...end.effects] };
  }
  return complete(state, { outcome, error: hasAnswer ? null : outcome.error });
}

function takeCheckpointed(
  state: RelayState,
  { attempt, reply }: { readonly attempt: number; readonly reply: FenceAnswer },
  nowMs: number,
  policy: RelayPolicy,
): RelayStep {
  // What an earlier attempt's checkpoint brings is known from the failover that came after it.
  if (attempt !== state.turn.attempt) return { state, effects: [] };
  if (reply === "superseded" && state.phase === "failingOver") return { state, effects: [] };
  if (reply === "superseded" || reply === "unknownTurn") return abandon(state, superseded, policy);
  const toSeq = reply === "ok" ? (state.checkpointToSeq ?? 0) : 0;
  const unacknowledged = state.unacknowledged.filter((run) => run.toSeq > toSeq);
  const next: RelayState = {
    ...state,
    unacknowledged,
    unacknowledgedBytes: unacknowledged.reduce((sum, { bytes }) => sum + bytes.length, 0),
    // After a failure the next try waits a whole interval: the object may be overloaded.
    waitingSinceMs: unacknowledged.length === 0 ? null : nowMs,
    checkpointToSeq: null,
  };
  if (next.phase === "completing" && next.final !== null) return complete(next, next.final);
  return reply === "failed" ? { state: next, effects: [] } : withCheckpoint(next, nowMs, policy);
}

function takeCompleted(state: RelayState, reply: FenceAnswer, policy: RelayPolicy): RelayStep {
  if (reply === "superseded" || reply === "unknownTurn") return abandon(state, superseded, policy);
  if (reply === "failed") return abandon(state, lost("connectionLost"), policy);
  const end = finish(state, state.final?.error ?? null);
  const written = state.terminal.flatMap(({ bytes }) => writes(state, bytes));
  const writtenSeq = state.terminal.at(-1)?.toSeq ?? state.writtenSeq;
  return { state: { ...end.state, writtenSeq }, effects: [...written, ...end.effects] };
}

/**
 * Decides what the edge does with what it hears from cell, object, client and clock. Its promises: frames are written
 * once and in order; a terminal frame is written only after the turn is durable (durable lane) and only after an outcome;
 * a stream that ends without one ends with an error event; at most one checkpoint is under way; after `finish` nothing
 * happens. Pure; costs no more than the frames that wait for a checkpoint.
 */
export function stepRelay(
  state: RelayState,
  event: RelayEvent,
  nowMs: number,
  policy: RelayPolicy,
): RelayStep {
  const unchanged: RelayStep = { state, effects: [] };
  if (state.phase === "finished") return unchanged;
  switch (event.kind) {
    case "clientGone":
      return takeClientGone(state);
    case "checkpointed":
      return takeCheckpointed(state, event, nowMs, policy);
    case "completed":
      return state.phase === "completing" ? takeCompleted(state, event.reply, policy) : unchanged;
    case "failedOver":
      return state.phase === "failingOver"
        ? takeFailedOver(state, event, nowMs, policy)
        : unchanged;
    case "stopped":
      if (state.phase !== "failingOver") return unchanged;
      return event.error === null
        ? abandon(state, superseded, policy)
        : fail(state, event.error, nowMs, policy);
    case "frames":
    case "comment":
    case "seam":
    case "surplus":
    case "outcome":
    case "ended":
    case "cut":
    case "refused":
    case "tick":
      return state.phase === "running" ? stepRunning(state, event, nowMs, policy) : unchanged;
  }
}

function takeFailedOver(
  state: RelayState,
  { turn, givenSeq }: { readonly turn: RelayTurn; readonly givenSeq: number },
  nowMs: number,
  policy: RelayPolicy,
): RelayStep {
  const running: RelayState = { ...state, phase: "running", turn, heardAtMs: nowMs };
  if (turn.attempt === state.turn.attempt) return { state: running, effects: [] };
  const hasBegun = state.isStreamed && state.writtenSeq > 0;
  if (hasBegun && givenSeq !== state.writtenSeq) {
    return fail(running, lost("invalid"), nowMs, policy);
  }
  return {
    state: {
      ...running,
      unacknowledged: [],
      unacknowledgedBytes: 0,
      waitingSinceMs: null,
      checkpointToSeq: null,
    },
    effects: [],
  };
}

/** A durable turn goes on without its client; a stateless one is worth nothing without it and is stopped. */
function takeClientGone(state: RelayState): RelayStep {
  const next: RelayState = { ...state, isClientGone: true };
  if (state.lane === "durable") return { state: next, effects: [] };
  const end = finish(next, { code: "client_closed", message: "The client closed the request." });
  return { state: end.state, effects: [{ kind: "disconnect" }, ...end.effects] };
}

type RunningEvent = Extract<
  RelayEvent,
  {
    readonly kind:
      | "frames"
      | "comment"
      | "seam"
      | "surplus"
      | "outcome"
      | "ended"
      | "cut"
      | "refused"
      | "tick";
  }
>;

function stepRunning(
  state: RelayState,
  event: RunningEvent,
  nowMs: number,
  policy: RelayPolicy,
): RelayStep {
  switch (event.kind) {
    case "frames":
      return takeFrames({ ...state, heardAtMs: nowMs }, event, nowMs, policy);
    case "comment":
      return {
        state: { ...state, heardAtMs: nowMs },
        effects: state.writtenSeq > 0 ? writes(state, event.bytes) : [],
      };
    case "seam":
      return {
        state: { ...state, heardAtMs: nowMs, continuations: state.continuations + 1 },
        effects: [],
      };
    case "surplus":
      return {
        state: { ...state, heardAtMs: nowMs, surplusTokens: event.tokens },
        effects: [],
      };
    case "outcome":
      // A second outcome would let a cell rewrite what the first said.
      return state.outcome === null
        ? { state: { ...state, heardAtMs: nowMs, outcome: event.outcome }, effects: [] }
        : moveOrFail(state, lost("invalid"), "invalid", nowMs, policy);
    case "ended":
      return takeEnd(state, nowMs, policy);
    case "cut":
      return moveOrFail(state, lost(event.reason), event.reason, nowMs, policy);
    case "refused":
      return event.mayMove
        ? moveOrFail(state, event.error, "refused", nowMs, policy)
        : fail(state, event.error, nowMs, policy);
    case "tick":
      return nowMs - state.heardAtMs >= policy.silenceMs
        ? moveOrFail(state, lost("silent"), "silent", nowMs, policy)
        : withCheckpoint(state, nowMs, policy);
  }
}
