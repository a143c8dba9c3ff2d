import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { TurnOutcome } from "../protocol/internal/turn-outcome.ts";
import { noUsage } from "../protocol/usage.ts";
import type { CellId, RegionId, TurnId } from "../residency/brands.ts";

/** Frames in a row, as bytes of the client's stream. */
export interface FrameRun {
  readonly bytes: Uint8Array;
  readonly fromSeq: number;
  readonly toSeq: number;
}

/** Frames on their way to the journal; the shell turns the bytes into a JournalSegment's text. */
export interface RelaySegment {
  readonly fromSeq: number;
  readonly toSeq: number;
  readonly parts: readonly Uint8Array[];
}

/** The turn as it is leased at present; an attempt and a cell change at a failover. */
export interface RelayTurn {
  readonly turnId: TurnId;
  readonly attempt: number;
  readonly cell: CellId;
  readonly region: RegionId;
}

/** One turn on its way from a cell to a client. Plain data; bytes are views that are never changed. */
export interface RelayState {
  readonly v: 1;
  readonly lane: "stateless" | "durable";
  readonly isStreamed: boolean;
  readonly phase:
    /** Blocks are coming, or a cell is being asked. */
    | "running"
    /** `failover()`, or the rest of a stream that broke off, is being asked for. */
    | "failingOver"
    /** The end is known; a checkpoint or `completeTurn()` is being waited for. */
    | "completing"
    | "finished";
  readonly turn: RelayTurn;
  readonly startedAtMs: number;
  readonly failovers: number;
  /** Seams that the cells of this relay told of, and moves to another cell after the first frame. */
  readonly continuations: number;
  /** `writtenSeq` when the cell was last asked for the rest of its stream; null when it never was. */
  readonly reattachedSeq: number | null;
  /** When the cell was last heard of, ms. */
  readonly heardAtMs: number;
  readonly isClientGone: boolean;
  /** Seq of the last frame written to the client; 0 before the first. */
  readonly writtenSeq: number;
  /**
   * Stateless lane: every frame that was written, so that another cell can go on from them; append-only and shared by later
   * states. Null once they are more than is kept: then no other cell can.
   */
  readonly given: FrameRun[] | null;
  readonly givenBytes: number;
  /** Frames that the object has not acknowledged, oldest first. Durable lane only. */
  readonly unacknowledged: readonly FrameRun[];
  readonly unacknowledgedBytes: number;
  /** Since when the oldest unacknowledged frame waits, ms; null when none does. */
  readonly waitingSinceMs: number | null;
  /** Seq up to which a checkpoint is under way; null when none is. */
  readonly checkpointToSeq: number | null;
  readonly outcome: TurnOutcome | null;
  /** The outcome of a cell that was given up, for what it counted. */
  readonly lostOutcome: TurnOutcome | null;
  /** Terminal frames: what came after the outcome. Held until the turn is durable. */
  readonly terminal: readonly FrameRun[];
  /** What `completeTurn()` was told, once it was. */
  readonly final: { readonly outcome: TurnOutcome; readonly error: ErrorOutcome | null } | null;
}

/** Why a cell's answer stopped without being whole. */
export type CutReason =
  | "unreachable"
  | "connectionLost"
  | "invalid"
  | "deadline"
  | "ended"
  | "silent";

export type RelayEvent =
  | ({ readonly kind: "frames" } & FrameRun)
  | { readonly kind: "comment"; readonly bytes: Uint8Array }
  /** The cell went on with the answer on another shard. */
  | { readonly kind: "seam" }
  | { readonly kind: "outcome"; readonly outcome: TurnOutcome }
  /** The cell's body ended as HTTP bodies end; whether it was whole is for this machine to say. */
  | { readonly kind: "ended" }
  | { readonly kind: "cut"; readonly reason: CutReason }
  /** The cell answered with an error before any frame. */
  | { readonly kind: "refused"; readonly error: ErrorOutcome; readonly mayMove: boolean }
  /** The reply to a checkpoint that was made in `attempt`. */
  | { readonly kind: "checkpointed"; readonly attempt: number; readonly reply: FenceAnswer }
  | { readonly kind: "completed"; readonly reply: FenceAnswer }
  /** A cell was asked to go on, from the frame after `fromSeq`; what it answers comes next. */
  | { readonly kind: "failedOver"; readonly turn: RelayTurn; readonly givenSeq: number }
  | { readonly kind: "stopped"; readonly error: ErrorOutcome | null }
  | { readonly kind: "clientGone" }
  | { readonly kind: "tick" };

/** What the object said; `failed`: it could not be reached, after the adapter's tries. */
export type FenceAnswer = "ok" | "superseded" | "unknownTurn" | "failed";

export type RelayEffect =
  | { readonly kind: "write"; readonly bytes: Uint8Array }
  | { readonly kind: "checkpoint"; readonly segment: RelaySegment }
  | {
      readonly kind: "complete";
      readonly segment: RelaySegment | null;
      readonly outcome: TurnOutcome;
    }
  | {
      readonly kind: "failover";
      /** Frames that the object has not got. */
      readonly segment: RelaySegment | null;
      /** Stateless lane: all that the client was given; null while that is nothing. */
      readonly given: RelaySegment | null;
      readonly continuations: number;
      readonly reason: string;
    }
  /** Ask the same cell for its frames after `afterSeq`: the connection broke, the turn may well run on. */
  | { readonly kind: "reattach"; readonly afterSeq: number }
  /** Stop reading the cell; nothing more is taken from it. */
  | { readonly kind: "disconnect" }
  /**
   * The last effect. `error` is null when the client has the whole answer. With an error and nothing written the client
   * gets an HTTP error; otherwise the error stands in the stream already.
   */
  | {
      readonly kind: "finish";
      readonly outcome: TurnOutcome | null;
      readonly error: ErrorOutcome | null;
    };

/** Limits of the relay, and how an error ends a begun stream. */
export interface RelayPolicy {
  /** A checkpoint is due when the oldest unacknowledged frame is this old, ms. */
  readonly checkpointIntervalMs: number;
  /** … or when this many bytes wait. */
  readonly checkpointBytes: number;
  /** Other cells that one turn may be moved to. */
  readonly failoversMax: number;
  /** Seams that an answer may have. */
  readonly continuationsMax: number;
  /** A cell that says nothing at all for this long is given up, ms; it sends a comment at least every third of it. */
  readonly silenceMs: number;
  /** Bytes of one turn that are held here for another cell (stateless) or until they are journaled (durable). */
  readonly heldBytesMax: number;
  /**
   * Frames that end a begun stream with an error, numbered from `fromSeq`. Those that are in no journal carry no id,
   * since a reader that resumes after them must not miss what the journal gets in their place.
   */
  readonly renderError: (
    error: ErrorOutcome,
    fromSeq: number,
    isJournaled: boolean,
  ) => { readonly bytes: Uint8Array; readonly toSeq: number };
}

/** One step: the next state and what to do, in order. */
export interface RelayStep {
  readonly state: RelayState;
  readonly effects: readonly RelayEffect[];
}

/** A relay before its first block. */
export function beginRelay(
  lane: RelayState["lane"],
  isStreamed: boolean,
  turn: RelayTurn,
  nowMs: number,
): RelayState {
  return {
    v: 1,
    lane,
    isStreamed,
    phase: "running",
    turn,
    startedAtMs: nowMs,
    failovers: 0,
    continuations: 0,
    reattachedSeq: null,
    heardAtMs: nowMs,
    isClientGone: false,
    writtenSeq: 0,
    given: [],
    givenBytes: 0,
    unacknowledged: [],
    unacknowledgedBytes: 0,
    waitingSinceMs: null,
    checkpointToSeq: null,
    outcome: null,
    lostOutcome: null,
    terminal: [],
    final: null,
  };
}

/** When a `tick` is due, ms since the epoch; null when none is. */
export function relayTickDueMs(state: RelayState, policy: RelayPolicy): number | null {
  if (state.phase !== "running") return null;
  const silentMs = state.heardAtMs + policy.silenceMs;
  return state.checkpointToSeq !== null || state.waitingSinceMs === null
    ? silentMs
    : Math.min(silentMs, state.waitingSinceMs + policy.checkpointIntervalMs);
}

function writes(state: RelayState, bytes: Uint8Array): readonly RelayEffect[] {
  return state.isClientGone || !state.isStreamed ? [] : [{ kind: "write", bytes }];
}

function segmentOf(runs: readonly FrameRun[]): RelaySegment | null {
  const first = runs[0];
  const last = runs.at(-1);
  if (first === undefined || last === undefined) return null;
  return { fromSeq: first.fromSeq, toSeq: last.toSeq, parts: runs.map(({ bytes }) => bytes) };
}

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
function complete(
  state: RelayState,
  final: { readonly outcome: TurnOutcome; readonly error: ErrorOutcome | null },
): RelayStep {
  const next: RelayState = { ...state, phase: "completing", final };
  if (state.checkpointToSeq !== null) return { state: next, effects: [] };
  const segment = segmentOf([...state.unacknowledged, ...state.terminal]);
  return { state: next, effects: [{ kind: "complete", segment, outcome: final.outcome }] };
}

function finish(state: RelayState, error: ErrorOutcome | null): RelayStep {
  const outcome = state.final?.outcome ?? state.outcome;
  return {
    state: { ...state, phase: "finished" },
    effects: [{ kind: "finish", outcome, error }],
  };
}

/** Ends the turn with `error`: in the stream where one has begun, and durably where an object holds the turn. */
function fail(
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

/** Ends a stream that the object does not hold for us any more: an error without an id, in no journal. */
function abandon(state: RelayState, error: ErrorOutcome, policy: RelayPolicy): RelayStep {
  const hasBegun = state.isStreamed && state.writtenSeq > 0;
  const end = finish({ ...state, final: null }, error);
  const effects = hasBegun
    ? writes(state, policy.renderError(error, state.writtenSeq + 1, false).bytes)
    : [];
  return { state: end.state, effects: [{ kind: "disconnect" }, ...effects, ...end.effects] };
}

const unjournaled: ErrorOutcome = {
  code: "interrupted",
  message: "The answer could not be recorded as fast as it came. Resume the stream.",
};

const superseded: ErrorOutcome = {
  code: "interrupted",
  message: "Another attempt holds this turn. Resume the stream, or send again with the same key.",
};

function lost(reason: CutReason): ErrorOutcome {
  if (reason === "deadline") {
    return {
      code: "deadline_exceeded",
      message: "The answer was not finished before its deadline.",
    };
  }
  return { code: "interrupted", message: "The answer broke off and could not be continued." };
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

/** A cell failed: it is asked again, or another one goes on where it stopped, or the turn ends with an error. */
function moveOrFail(
  state: RelayState,
  error: ErrorOutcome,
  reason: string,
  nowMs: number,
  policy: RelayPolicy,
): RelayStep {
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
    readonly kind: "frames" | "comment" | "seam" | "outcome" | "ended" | "cut" | "refused" | "tick";
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
