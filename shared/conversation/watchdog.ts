import { invariant } from "../errors/invariant.ts";
import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { TurnOutcome } from "../protocol/internal/turn-outcome.ts";
import type { CellId } from "../residency/brands.ts";
import { leaseOf } from "./begin-turn.ts";
import type { TurnOwner } from "./compose-turn.ts";
import { cancelledError, endByVerdict, lostError } from "./end-by-verdict.ts";
import type { JournalSegment, TurnLease, TurnTemplate } from "./rpc.ts";
import { endTurn, journal } from "./run-turn.ts";
import type { RunningTurn } from "./run-turn.ts";
import type { StepContext } from "./step.ts";
import type { StoredTurn } from "./store.ts";

/** An attempt at a cell, as calls to that cell name it. */
export interface AttemptAddress {
  readonly cell: CellId;
  readonly turnId: string;
  readonly attempt: number;
}

/** A running turn that the object reads itself. */
export interface Pull extends AttemptAddress {
  readonly kind: "pull";
  readonly afterSeq: number;
}

/** An attempt that the object puts to a cell itself. */
export interface Dispatch extends AttemptAddress {
  readonly kind: "dispatch";
  readonly template: TurnTemplate;
  readonly lease: TurnLease;
  readonly owner: TurnOwner;
  readonly traceparent: string;
}

/** A running turn that its client wants ended. */
export interface Cancel extends AttemptAddress {
  readonly kind: "cancel";
  readonly afterSeq: number;
}

/** What the object has to do for its running turn outside of itself. */
export type TurnWork = Pull | Dispatch | Cancel;

/** The running turn, or null. */
export function runningTurn(context: StepContext): RunningTurn | null {
  const head = context.store.readHead();
  if (head === null || head.runningTurnRandom === null || head.erasure !== "none") return null;
  const turn = context.store.readTurn(head.runningTurnRandom);
  return turn === null ? null : { head, turn };
}

function dueMsOf({ turn }: RunningTurn, { policy }: StepContext): number {
  if (turn.cancelledAtMs !== null) return turn.cancelledAtMs;
  if (turn.dispatchDueMs !== null) return turn.dispatchDueMs;
  if (turn.pullFailures > 0) return turn.heardAtMs + policy.pullRetryMs;
  return turn.heardAtMs + (turn.drivenBy === "object" ? policy.pullPauseMs : policy.watchdogMs);
}

/**
 * When the object must look after its running turn, ms since the epoch; null when none runs. A turn whose Worker and cell
 * are lost runs again, or is over, within `watchdogMs + pullFailuresMax * pull + pullRetryMs` of the last word of it: with
 * 10 s of silence and 1.5 s for a cell to answer at all, 10 + 2 * 1.5 + 0.5 = 13.5 s; 10 s when the cell answers or
 * refuses at once.
 */
export function watchdogDueMs(context: StepContext): number | null {
  const running = runningTurn(context);
  return running === null ? null : dueMsOf(running, context);
}

/** What is due now, or null. Looks only at what is stored, so that a second look at the same state wants the same. */
export function dueWork(context: StepContext): TurnWork | null {
  const running = runningTurn(context);
  if (running === null || dueMsOf(running, context) > context.nowMs) return null;
  const { head, turn } = running;
  const { turnId, attempt, cell, journalToSeq: afterSeq, requestId } = turn;
  const address = { turnId, attempt, cell };
  if (turn.cancelledAtMs !== null) return { kind: "cancel", ...address, afterSeq };
  if (turn.dispatchDueMs === null) return { kind: "pull", ...address, afterSeq };
  return {
    kind: "dispatch",
    ...address,
    template: turn.template,
    lease: leaseOf(context, head, turn),
    owner: { ...head, requestId },
    traceparent: turn.traceparent,
  };
}

/** The turn that the work was for, while the same attempt still runs. */
export function heldBy(context: StepContext, work: AttemptAddress): RunningTurn | null {
  const running = runningTurn(context);
  if (running === null) return null;
  const { turnId, attempt } = running.turn;
  return turnId === work.turnId && attempt === work.attempt ? running : null;
}

/** Why an attempt is over without an outcome that may stand. */
type Loss =
  /** The cell does not know it, or cannot be reached: what it gave to clients is lost with it. */
  | "unknown"
  | "unreachable"
  /** The cell gave it up and said so; all that it gave is journaled. */
  | "givenUp"
  /** The cell did not take it. */
  | "refused";

/** The next cell in order, around and around; the same one when there is no other. */
function cellAfter(cells: readonly CellId[], cell: CellId): CellId | null {
  const others = cells.filter((other) => other !== cell);
  if (others.length === 0) return cells.includes(cell) ? cell : null;
  return cells.slice(cells.indexOf(cell) + 1).find((other) => other !== cell) ?? others[0] ?? null;
}

/**
 * Raises the attempt and has the object put it to another cell of the jurisdiction, with all that is journaled; or ends
 * the turn as failed where a bound forbids it.
 */
function beginAnew(
  context: StepContext,
  running: RunningTurn,
  cells: readonly CellId[],
  loss: Loss,
  error: ErrorOutcome,
): "waiting" | "ended" {
  const { nowMs, policy, store } = context;
  const { turn } = running;
  if (turn.cancelledAtMs !== null) {
    if (loss === "unreachable") abort(context, turn);
    endByVerdict(context, running, { status: "cancelled", error: cancelledError });
    return "ended";
  }
  const hasBegun = turn.journalToSeq > 0;
  const continuations = turn.continuations + turn.seams + (hasBegun ? 1 : 0);
  // An attempt that no cell took, or that waited there for a shard in vain, has cost nothing.
  const isDispatch = turn.dispatchDueMs !== null || (loss === "givenUp" && !hasBegun);
  const dispatchFailures = isDispatch ? turn.dispatchFailures + 1 : 0;
  const restarts = isDispatch ? turn.restarts : turn.restarts + 1;
  const next = cellAfter(cells, turn.cell);
  const isOnlyCell = next === turn.cell;
  const isOver =
    next === null ||
    nowMs >= turn.deadlineMs ||
    restarts > policy.restartsMax ||
    (hasBegun && continuations > policy.continuationsMax) ||
    (!turn.isBackground &&
      (dispatchFailures > policy.dispatchFailuresMax || (isOnlyCell && loss === "unreachable")));
  if (isOver) {
    if (loss !== "givenUp") abort(context, turn);
    endByVerdict(context, running, { status: "failed", error });
    return "ended";
  }
  // A cell that does not know the attempt may get it late: the abort keeps it from running then.
  if (loss !== "givenUp") abort(context, turn);
  const round = Math.floor(dispatchFailures / Math.max(1, cells.length));
  const pauseMs =
    dispatchFailures === 0 || (round === 0 && !isOnlyCell)
      ? 0
      : Math.min(
          policy.dispatchRetryMaxMs,
          policy.dispatchRetryBaseMs * 2 ** Math.min(16, dispatchFailures - 1),
        );
  const mayHaveShown = (loss === "unknown" || loss === "unreachable") && showsFrames(turn);
  store.writeTurn({
    ...turn,
    attempt: turn.attempt + 1,
    cell: next,
    drivenBy: "object",
    dispatchDueMs: nowMs + pauseMs,
    dispatchFailures,
    restarts,
    heardAtMs: nowMs,
    pullFailures: 0,
    continuations: hasBegun ? continuations : turn.continuations,
    seams: 0,
    takenOverAtSeq: turn.drivenBy === "worker" ? turn.journalToSeq : null,
    restartedAfterSeq: mayHaveShown
      ? (turn.restartedAfterSeq ?? turn.journalToSeq)
      : turn.restartedAfterSeq,
  });
  return "waiting";
}

function showsFrames(turn: StoredTurn): boolean {
  return turn.template.rendering.stream;
}

function abort({ store }: StepContext, { cell, turnId, attempt }: StoredTurn): void {
  store.addOutbox({ kind: "abort", cell, turnId, attempt });
}

/** What a pull found. */
export type PullFinding =
  | {
      readonly kind: "frames";
      readonly segment: JournalSegment | null;
      /** The frames that end the stream; only with an outcome. */
      readonly terminal: JournalSegment | null;
      readonly outcome: TurnOutcome | null;
      readonly seams: number;
    }
  /** The cell does not know the attempt: it restarted, or never got it. */
  | { readonly kind: "unknown" }
  | { readonly kind: "unreachable" };

const lateError: ErrorOutcome = {
  code: "deadline_exceeded",
  message: "The prompt was not finished before its deadline.",
};

/**
 * Takes in a pull. A turn that its cell lost or gave up is begun anew elsewhere, `cells` being those of the jurisdiction
 * that serve its model; past the bounds it ends as failed, so that the conversation is free again.
 */
export function afterPull(
  context: StepContext,
  pull: Pull,
  finding: PullFinding,
  cells: readonly CellId[],
): "waiting" | "ended" {
  const running = heldBy(context, pull);
  if (running === null) return runningTurn(context) === null ? "ended" : "waiting";
  const { head, turn: stored } = running;
  const { nowMs, policy, store } = context;
  if (finding.kind === "frames" && finding.outcome !== null) {
    return takeOutcome(context, running, finding, finding.outcome, cells);
  }
  if (nowMs > stored.deadlineMs + policy.watchdogMs) {
    abort(context, stored);
    endByVerdict(context, running, { status: "failed", error: lateError });
    return "ended";
  }
  if (finding.kind === "frames") {
    const turn = journal(context, stored, finding.segment);
    // Frames that nobody had journaled: their Worker is gone, so this turn is the object's to read.
    const isOrphan = turn.journalToSeq > stored.journalToSeq;
    store.writeTurn({
      ...turn,
      heardAtMs: nowMs,
      pullFailures: 0,
      seams: Math.max(turn.seams, finding.seams),
      drivenBy: isOrphan ? "object" : turn.drivenBy,
      dispatchFailures: isOrphan ? 0 : turn.dispatchFailures,
    });
    return "waiting";
  }
  const pullFailures = stored.pullFailures + 1;
  if (finding.kind === "unreachable" && pullFailures < policy.pullFailuresMax) {
    store.writeTurn({ ...stored, heardAtMs: nowMs, pullFailures });
    return "waiting";
  }
  return beginAnew(context, { head, turn: stored }, cells, finding.kind, lostError);
}

function takeOutcome(
  context: StepContext,
  { head, turn: stored }: RunningTurn,
  { segment, terminal, seams }: Extract<PullFinding, { kind: "frames" }>,
  outcome: TurnOutcome,
  cells: readonly CellId[],
): "waiting" | "ended" {
  const turn = journal(context, stored, segment);
  const running = { head, turn: { ...turn, seams: Math.max(turn.seams, seams) } };
  const { error } = outcome;
  if (stored.cancelledAtMs !== null && error !== null) {
    const { usage, shard } = outcome;
    const verdict = { status: "cancelled", error: cancelledError, usage, shard } as const;
    endByVerdict(context, running, verdict);
    return "ended";
  }
  if (outcome.status === "failed" && outcome.mayMove && error !== null) {
    return beginAnew(context, running, cells, "givenUp", error);
  }
  if (error !== null && terminal === null) {
    const { usage, shard } = outcome;
    const status = outcome.status === "cancelled" ? "cancelled" : "failed";
    endByVerdict(context, running, { status, error, usage, shard });
    return "ended";
  }
  endTurn(context, head, journal(context, turn, terminal), outcome);
  return "ended";
}

/** What became of putting an attempt to its cell. */
export type DispatchReply =
  /** It runs there; the same for an attempt that ran there before. */
  | { readonly kind: "started" }
  | { readonly kind: "refused"; readonly error: ErrorOutcome; readonly mayMove: boolean }
  /** It may run there or not. */
  | { readonly kind: "unreachable" };

/** Takes in what became of a dispatch. One whose turn is over meanwhile is stopped at the cell. */
export function afterDispatch(
  context: StepContext,
  dispatch: Dispatch,
  reply: DispatchReply,
  cells: readonly CellId[],
): "waiting" | "ended" {
  const running = heldBy(context, dispatch);
  if (running === null) {
    if (reply.kind !== "refused") {
      const { cell, turnId, attempt } = dispatch;
      context.store.addOutbox({ kind: "abort", cell, turnId, attempt });
    }
    return "ended";
  }
  const { turn } = running;
  // A Worker that has the same attempt may have put it there meanwhile.
  if (turn.dispatchDueMs === null) return "waiting";
  switch (reply.kind) {
    case "started":
      context.store.writeTurn({
        ...turn,
        dispatchDueMs: null,
        heardAtMs: context.nowMs,
        pullFailures: 0,
      });
      return "waiting";
    case "refused":
      if (reply.mayMove) return beginAnew(context, running, cells, "refused", reply.error);
      endByVerdict(context, running, { status: "failed", error: reply.error });
      return "ended";
    case "unreachable":
      return beginAnew(context, running, cells, "unreachable", lostError);
  }
}

/** Marks the running turn as one that its client wants ended. */
export function markCancelled(context: StepContext, turnRandom: string): Cancel {
  const running = runningTurn(context);
  invariant(running !== null && running.turn.turnRandom === turnRandom, "the turn runs");
  const { turn } = running;
  context.store.writeTurn({ ...turn, cancelledAtMs: turn.cancelledAtMs ?? context.nowMs });
  const { turnId, attempt, cell, journalToSeq: afterSeq } = turn;
  return { kind: "cancel", turnId, attempt, cell, afterSeq };
}
