import type { CellId } from "../residency/brands.ts";
import type { TurnResume } from "../protocol/internal/turn-request.ts";
import type { BeginTurnInput, BeginTurnResult, ConversationScope, TurnLease } from "./rpc.ts";
import { isFrozen, isMoving } from "./move-state.ts";
import { findEarlier, keepClaim } from "./once.ts";
import {
  appendItems,
  movingNow,
  notFound,
  openHead,
  readHistory,
  refuse,
  refuseItems,
  viewTurn,
} from "./step.ts";
import type { Refused, StepContext } from "./step.ts";
import type { ConversationHead, StoredTurn } from "./store.ts";

/** A conversation that has just begun; nothing is stored yet. */
export function newHead(
  scope: ConversationScope,
  historyCell: CellId,
  metadata: Readonly<Record<string, string>>,
  nowMs: number,
): ConversationHead {
  const { tenant, jurisdiction, conversationId } = scope;
  return {
    v: 1,
    tenant,
    jurisdiction,
    conversationId,
    createdAtMs: nowMs,
    metadata,
    incarnation: 1,
    nextSeq: 1,
    deliveredSeq: 0,
    homeCell: null,
    homeShard: null,
    historyCell,
    streamsKeptMs: null,
    runningTurnRandom: null,
    lastTurnRandom: null,
    erasure: "none",
  };
}

function findRepeat(context: StepContext, input: BeginTurnInput): BeginTurnResult | null {
  const earlier = findEarlier(context, input.idempotency);
  if (earlier.kind === "none") return null;
  if (earlier.kind === "refused") return earlier;
  const turn = context.store.readTurn(earlier.turnRandom);
  return turn === null ? null : { kind: "replay", turn: viewTurn(turn) };
}

function locked(context: StepContext): Refused {
  return refuse(
    "conversation_locked",
    "A turn is running on this conversation. Wait for its end, then send again.",
    {
      retryAfterMs: context.policy.lockedRetryAfterMs,
    },
  );
}

/**
 * The reply to a call that was made before and whose reply was lost: the same turn, never a second one. Its Worker may go on
 * as long as it has not missed anything.
 */
function findSame(context: StepContext, input: BeginTurnInput): BeginTurnResult | null {
  const head = openHead(context, input.scope);
  const turn = head === null ? null : context.store.readTurn(input.turnRandom);
  if (head === null || turn === null || turn.turnId !== input.turnId) return null;
  if (turn.isBackground) return { kind: "background", turn: viewTurn(turn) };
  const isFresh = turn.state === "running" && turn.drivenBy === "worker" && turn.journalToSeq === 0;
  return isFresh
    ? { kind: "lease", lease: leaseOf(context, head, turn) }
    : { kind: "replay", turn: viewTurn(turn) };
}

/** Whether the turn follows its parent here (`null`), must fork, or is refused. */
function followParent(
  context: StepContext,
  head: ConversationHead,
  parentTurnRandom: string,
): BeginTurnResult | null {
  const parent = context.store.readTurn(parentTurnRandom);
  if (parent === null || !parent.isStored || parent.state === "failed") {
    return notFound("The previous response was", "previous_response_id");
  }
  if (parent.state === "running") return locked(context);
  const isLast = head.lastTurnRandom === parentTurnRandom && head.nextSeq - 1 === parent.lastSeq;
  if (isLast && head.runningTurnRandom === null) return null;
  return { kind: "fork", items: readHistory(context, parent.lastSeq) };
}

/** The home cell while it may be used, else the best of the others; null when there is none. */
export function pickCell(
  head: ConversationHead,
  cells: readonly CellId[],
  except?: CellId,
): CellId | null {
  const usable = cells.filter((cell) => cell !== except);
  if (head.homeCell !== null && usable.includes(head.homeCell)) return head.homeCell;
  return usable[0] ?? null;
}

/** What the client was given of the turn; null while that is nothing. */
function resumeOf(context: StepContext, turn: StoredTurn): TurnResume | null {
  if (turn.journalToSeq === 0) return null;
  const frames = context.store.readJournal(turn.turnRandom, 0);
  return {
    frames: frames.map(({ text }) => text).join(""),
    toSeq: turn.journalToSeq,
    surplusTokens: turn.surplusTokens,
    continuations: Math.max(1, turn.continuations),
  };
}

/** The lease of a turn as stored. */
export function leaseOf(context: StepContext, head: ConversationHead, turn: StoredTurn): TurnLease {
  return {
    turnId: turn.turnId as TurnLease["turnId"],
    incarnation: head.incarnation,
    attempt: turn.attempt,
    cell: turn.cell,
    homeShard: head.homeCell === turn.cell ? head.homeShard : null,
    items: readHistory(context, turn.inputToSeq),
    deadlineMs: turn.deadlineMs,
    resume: resumeOf(context, turn),
  };
}

/**
 * Opens a turn in one transaction: the idempotency key, the lock, the user's items (the outbox is all items past
 * `deliveredSeq`), the turn and its lease. Durable when the transaction is. A turn whose deadline has passed leaves nothing.
 */
export function beginTurn(context: StepContext, input: BeginTurnInput): BeginTurnResult {
  const repeat = findSame(context, input) ?? findRepeat(context, input);
  if (repeat !== null) return repeat;
  if (input.deadlineMs <= context.nowMs) {
    return refuse(
      "deadline_exceeded",
      "The request's deadline came before its turn was begun. Allow more time.",
    );
  }

  const stored = context.store.readHead();
  let head = openHead(context, input.scope);
  const first = input.cells[0];
  if (head === null) {
    if (input.mode === "existing" || stored !== null)
      return notFound("The conversation was", "conversation");
    if (first === undefined) {
      return refuse(
        "no_capacity_in_jurisdiction",
        "No cell of this jurisdiction can take the prompt now.",
        {
          retryAfterMs: context.policy.lockedRetryAfterMs,
        },
      );
    }
    head = newHead(input.scope, first, {}, context.nowMs);
  }
  if (input.parentTurnRandom !== null) {
    const reply = followParent(context, head, input.parentTurnRandom);
    if (reply !== null) return reply;
  }
  if (head.runningTurnRandom !== null) return locked(context);
  if (isFrozen(head.move)) return movingNow(context);

  const added = [...(stored === null ? input.seedItems : []), ...input.newItems];
  const refused = refuseItems(context, stored === null ? null : head, added);
  if (refused !== null) return refused;
  const cell = pickCell(head, input.cells);
  if (cell === null) {
    return refuse(
      "no_capacity_in_jurisdiction",
      "No cell of this jurisdiction can take the prompt now.",
      {
        retryAfterMs: context.policy.lockedRetryAfterMs,
      },
    );
  }

  // Nothing was ever on its way to a database: the history goes where the conversation is at home.
  if (head.nextSeq === 1 && !isMoving(head.move)) head = { ...head, historyCell: cell };
  if (stored === null) head = appendItems(context, head, input.seedItems, null);
  const inputFromSeq = head.nextSeq;
  head = appendItems(context, head, input.newItems, input.turnRandom);
  const turn: StoredTurn = {
    v: 1,
    turnRandom: input.turnRandom,
    turnId: input.turnId,
    state: "running",
    attempt: 1,
    cell,
    template: input.template,
    requestId: input.scope.requestId,
    traceparent: input.scope.traceparent,
    inputFromSeq,
    inputToSeq: head.nextSeq - 1,
    lastSeq: head.nextSeq - 1,
    isStored: input.isStored,
    deadlineMs: input.deadlineMs,
    createdAtMs: context.nowMs,
    heardAtMs: context.nowMs,
    endedAtMs: null,
    journalToSeq: 0,
    pullFailures: 0,
    drivenBy: input.isBackground ? "object" : "worker",
    isBackground: input.isBackground,
    dispatchDueMs: input.isBackground ? context.nowMs : null,
    dispatchFailures: 0,
    restarts: 0,
    seams: 0,
    restartedAfterSeq: null,
    takenOverAtSeq: null,
    cancelledAtMs: null,
    reservationId: input.reservationId,
    continuations: 0,
    surplusTokens: 0,
    body: null,
    error: null,
    shard: null,
  };
  context.store.writeTurn(turn);
  keepClaim(context, input.idempotency, input.turnRandom, stored === null);
  head = {
    ...head,
    streamsKeptMs: input.streamsKeptMs,
    runningTurnRandom: input.turnRandom,
  };
  context.store.writeHead(head);
  return turn.isBackground
    ? { kind: "background", turn: viewTurn(turn) }
    : { kind: "lease", lease: leaseOf(context, head, turn) };
}
