import type { TurnOutcome } from "../protocol/internal/turn-outcome.ts";
import { nextHome, noHome } from "../routing/next-home.ts";
import { parseIdentifier } from "../residency/identifiers.ts";
import { leaseOf, pickCell } from "./begin-turn.ts";
import { framesAfter } from "./frames.ts";
import type {
  CheckpointInput,
  CompleteTurnInput,
  ConversationScope,
  FailoverInput,
  FailoverResult,
  FenceReply,
  JournalSegment,
} from "./rpc.ts";
import { appendItems, buryItem, openHead } from "./step.ts";
import type { StepContext } from "./step.ts";
import type { ConversationHead, StoredTurn } from "./store.ts";

/** A turn that runs, with the head that names it. */
export interface RunningTurn {
  readonly head: ConversationHead;
  readonly turn: StoredTurn;
}

/**
 * The running turn when `attempt` still holds it. Calls to the object are fenced by attempt alone, so that a running turn
 * outlives a new incarnation. A turn that has ended answers `ok`: the caller's work is done, whoever did it.
 */
function holdTurn(
  context: StepContext,
  scope: ConversationScope,
  turnId: string,
  attempt: number,
): RunningTurn | FenceReply {
  const head = openHead(context, scope);
  if (head === null) return { kind: "unknownTurn" };
  const turnRandom = parseIdentifier(turnId)?.turnRandom ?? "";
  const turn = turnRandom === "" ? null : context.store.readTurn(turnRandom);
  if (turn === null || turn.turnId !== turnId) return { kind: "unknownTurn" };
  if (turn.attempt !== attempt) return { kind: "superseded" };
  if (turn.state !== "running") return { kind: "ok" };
  return { head, turn };
}

function isHeld(value: RunningTurn | FenceReply): value is RunningTurn {
  return "turn" in value;
}

/**
 * Writes what is new of `segment` to the journal, at most one row; frames that are there already are left out. A segment
 * that would leave a gap is not written: the watchdog pulls what is missing.
 */
export function journal(
  context: StepContext,
  turn: StoredTurn,
  segment: JournalSegment | null,
): StoredTurn {
  if (segment === null || segment.toSeq <= turn.journalToSeq) return turn;
  if (segment.fromSeq > turn.journalToSeq + 1) return turn;
  const text =
    segment.fromSeq > turn.journalToSeq
      ? segment.text
      : framesAfter(segment.text, turn.journalToSeq);
  context.store.appendJournal(turn.turnRandom, turn.journalToSeq + 1, segment.toSeq, text);
  return { ...turn, journalToSeq: segment.toSeq };
}

/** What a caller is told whose turn has ended: `ok` when it ended as the caller says, else it must not show its own end. */
function endedAs({ store }: StepContext, { turnId, outcome }: CompleteTurnInput): FenceReply {
  const turn = store.readTurn(parseIdentifier(turnId)?.turnRandom ?? "");
  return { kind: turn?.state === outcome.status ? "ok" : "superseded" };
}

/** Journals frames of the running turn. */
export function checkpoint(context: StepContext, input: CheckpointInput): FenceReply {
  const held = holdTurn(context, input.scope, input.turnId, input.attempt);
  if (!isHeld(held)) return held;
  const turn = journal(context, held.turn, input.segment);
  const drivenBy = turn.isBackground ? "object" : "worker";
  context.store.writeTurn({ ...turn, heardAtMs: context.nowMs, pullFailures: 0, drivenBy });
  return { kind: "ok" };
}

/** Whether a failure comes from one who lacks what is journaled: its end would stand below what readers have. */
function isBehind({ journalToSeq }: StoredTurn, { segment, outcome }: CompleteTurnInput): boolean {
  const hasFailed = outcome.status === "failed" || outcome.status === "cancelled";
  return hasFailed && journalToSeq > 0 && (segment === null || segment.toSeq <= journalToSeq);
}

/**
 * Ends the running turn: the assistant's items, usage, home shard and journal, in one transaction. A failed turn leaves
 * nothing in the history: its input is withdrawn, so that a client that sends again does not find it twice. A turn that the
 * object drives is not ended by a Worker that knows less of it: it never heard the cell that gave what is journaled.
 */
export function completeTurn(context: StepContext, input: CompleteTurnInput): FenceReply {
  const held = holdTurn(context, input.scope, input.turnId, input.attempt);
  if (!isHeld(held)) return held.kind === "ok" ? endedAs(context, input) : held;
  if (held.turn.drivenBy === "object" && isBehind(held.turn, input)) return { kind: "superseded" };
  const turn = journal(context, held.turn, input.segment);
  endTurn(context, held.head, turn, input.outcome);
  return { kind: "ok" };
}

/** The head after a turn that was answered: in another cell that one is the home, in the same one it may have been passed by. */
function atHome(
  head: ConversationHead,
  { cell, shard, spill }: TurnOutcome,
  nowMs: number,
): ConversationHead {
  if (shard === null) return { ...head, homeCell: cell, homeShard: null };
  const stays = head.homeCell === cell;
  const before = { ...noHome, ...head.home, shard: stays ? head.homeShard : null };
  const { shard: homeShard, ...home } = nextHome(before, shard, spill ?? null, nowMs);
  return { ...head, homeCell: cell, homeShard, home };
}

/** The end of a turn, from a cell's outcome or from the watchdog's verdict. */
export function endTurn(
  context: StepContext,
  head: ConversationHead,
  turn: StoredTurn,
  outcome: TurnOutcome,
): void {
  const { store, nowMs } = context;
  const hasAnswer = outcome.status === "completed" || outcome.status === "incomplete";
  let next = head;
  if (hasAnswer) {
    next = appendItems(context, head, outcome.items, turn.turnRandom);
    next = atHome(next, outcome, nowMs);
  } else {
    for (const item of store.readItems(
      turn.inputFromSeq,
      turn.inputToSeq,
      context.policy.itemsMax,
    )) {
      buryItem(context, item);
    }
  }
  const { usage } = outcome;
  store.addOutbox({
    kind: "usage",
    usage: {
      turnId: turn.turnId,
      requestId: turn.requestId,
      model: outcome.model ?? turn.template.engine.model,
      shard: outcome.shard,
      status: outcome.status,
      ...usage,
      createdAtMs: nowMs,
    },
  });
  if (turn.reservationId !== null) {
    store.addOutbox({
      kind: "settle",
      reservationId: turn.reservationId,
      model: outcome.model ?? turn.template.engine.model,
      promptTokens: usage.promptTokens,
      completionTokens: usage.completionTokens,
    });
  }
  store.writeTurn({
    ...turn,
    state: outcome.status,
    dispatchDueMs: null,
    lastSeq: next.nextSeq - 1,
    endedAtMs: nowMs,
    heardAtMs: nowMs,
    body: outcome.body,
    error: outcome.error,
    shard: outcome.shard,
  });
  store.writeHead({
    ...next,
    runningTurnRandom: null,
    // A failed turn is not one that another can follow.
    lastTurnRandom:
      hasAnswer || head.lastTurnRandom === null ? turn.turnRandom : head.lastTurnRandom,
  });
}

/**
 * A Worker that lives although the object took its turn over gets it back, as long as nothing of the object's attempt is
 * journaled: it has the client, and frames that the object lacks. A Worker whose reply was lost gets the same lease again.
 * Null when there is neither.
 */
function takeBack(context: StepContext, input: FailoverInput): FailoverResult | null {
  const { scope, turnId, attempt, segment, continuations } = input;
  const held = holdTurn(context, scope, turnId, attempt + 1);
  if (!isHeld(held)) return null;
  if (held.turn.drivenBy === "worker") {
    return { kind: "lease", lease: leaseOf(context, held.head, held.turn) };
  }
  if (held.turn.takenOverAtSeq !== held.turn.journalToSeq) return null;
  const turn = {
    ...journal(context, held.turn, segment),
    // The same cell drops the object's attempt for this one.
    attempt: held.turn.attempt + 1,
    heardAtMs: context.nowMs,
    pullFailures: 0,
    drivenBy: "worker" as const,
    dispatchDueMs: null,
    takenOverAtSeq: null,
    seams: 0,
    continuations: held.turn.continuations + continuations,
    surplusTokens: input.surplusTokens,
  };
  context.store.writeTurn(turn);
  return { kind: "lease", lease: leaseOf(context, held.head, turn) };
}

/** Raises the attempt and leases another cell of the jurisdiction; frames that the object lacked are journaled first. */
export function failover(context: StepContext, input: FailoverInput): FailoverResult {
  const back = takeBack(context, input);
  if (back !== null) return back;
  const held = holdTurn(context, input.scope, input.turnId, input.attempt);
  if (!isHeld(held)) {
    // A turn that the object has ended meanwhile may have its whole answer: its caller is to read it, not to call it lost.
    return held.kind === "unknownTurn"
      ? { kind: "stop", error: { code: "not_found", message: "The turn is not running." } }
      : { kind: "superseded" };
  }
  const journaled = journal(context, held.turn, input.segment);
  const continuations =
    journaled.continuations + input.continuations + (journaled.journalToSeq > 0 ? 1 : 0);
  if (journaled.journalToSeq > 0 && continuations > context.policy.continuationsMax) {
    context.store.writeTurn({ ...journaled, heardAtMs: context.nowMs });
    return {
      kind: "stop",
      error: {
        code: "interrupted",
        message:
          "The answer was interrupted too often to be continued. What was received is not complete.",
      },
    };
  }
  const cell = pickCell(held.head, input.cells, held.turn.cell);
  if (cell === null) {
    context.store.writeTurn({ ...journaled, heardAtMs: context.nowMs });
    return {
      kind: "stop",
      error: {
        code: "no_capacity_in_jurisdiction",
        message: "No other cell of this jurisdiction can take the prompt now.",
        retryAfterMs: context.policy.lockedRetryAfterMs,
      },
    };
  }
  const { cell: failedCell, turnId, attempt } = held.turn;
  context.store.addOutbox({ kind: "abort", cell: failedCell, turnId, attempt });
  const turn = {
    ...journaled,
    attempt: attempt + 1,
    cell,
    heardAtMs: context.nowMs,
    pullFailures: 0,
    drivenBy: "worker" as const,
    dispatchDueMs: null,
    seams: 0,
    continuations,
    surplusTokens: input.surplusTokens,
  };
  context.store.writeTurn(turn);
  return { kind: "lease", lease: leaseOf(context, held.head, turn) };
}
