import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { TurnOutcome } from "../protocol/internal/turn-outcome.ts";
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
  /** Tokens beyond one for each piece, as the cells of this relay told. */
  readonly surplusTokens: number;
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
  | { readonly kind: "surplus"; readonly tokens: number }
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
      readonly surplusTokens: number;
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
    surplusTokens: 0,
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
