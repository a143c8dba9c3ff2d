import type { ItemRecord } from "../protocol/internal/turn-outcome.ts";
import { framesAfter } from "./frames.ts";
import type { ConversationResult, ConversationScope, TurnView } from "./rpc.ts";
import { notFound, openHead, readHistory, streamsKeptMs, viewTurn } from "./step.ts";
import type { StepContext } from "./step.ts";
import type { StoredTurn } from "./store.ts";

interface TurnInput {
  readonly scope: ConversationScope;
  readonly turnRandom: string;
}

function openTurn(context: StepContext, input: TurnInput): StoredTurn | null {
  if (openHead(context, input.scope) === null) return null;
  return context.store.readTurn(input.turnRandom);
}

/** A stored response by its id. One that was not stored, or was deleted, is not found. */
export function readTurn(context: StepContext, input: TurnInput): ConversationResult<TurnView> {
  const turn = openTurn(context, input);
  return turn === null || !turn.isStored
    ? notFound("The response was")
    : { kind: "ok", value: viewTurn(turn) };
}

/** The items that the turn was given. */
export function readTurnInput(
  context: StepContext,
  input: TurnInput,
): ConversationResult<readonly ItemRecord[]> {
  const turn = openTurn(context, input);
  if (turn === null || !turn.isStored) return notFound("The response was");
  const items = context.store
    .readItems(turn.inputFromSeq, turn.inputToSeq, context.policy.itemsMax)
    .filter((item) => !item.isTombstone)
    .map(({ id, type, json }) => ({ id, type, json }));
  return { kind: "ok", value: items };
}

/** The history up to a turn, or all of it. */
export function readContext(
  context: StepContext,
  input: { readonly scope: ConversationScope; readonly turnRandom: string | null },
): ConversationResult<readonly ItemRecord[]> {
  const head = openHead(context, input.scope);
  if (head === null) return notFound("The conversation was");
  if (input.turnRandom === null)
    return { kind: "ok", value: readHistory(context, head.nextSeq - 1) };
  const turn = context.store.readTurn(input.turnRandom);
  if (turn === null || !turn.isStored || turn.state === "running" || turn.state === "failed") {
    return notFound("The previous response was", "previous_response_id");
  }
  return { kind: "ok", value: readHistory(context, turn.lastSeq) };
}

/** Journaled frames after a seq: byte for byte what a reader of the stream got. */
export function readJournal(
  context: StepContext,
  input: TurnInput & { readonly afterSeq: number },
): ConversationResult<{ readonly turn: TurnView; readonly text: string; readonly toSeq: number }> {
  const turn = openTurn(context, input);
  if (turn === null) return notFound("The stream was");
  const text = context.store
    .readJournal(input.turnRandom, input.afterSeq)
    .map((row) => (row.fromSeq > input.afterSeq ? row.text : framesAfter(row.text, input.afterSeq)))
    .join("");
  const { endedAtMs } = turn;
  const isOver = endedAtMs !== null && endedAtMs + streamsKeptMs(context) <= context.nowMs;
  // A journal that was longer than the position and is not there any more was forgotten.
  const isGone = text === "" && turn.journalToSeq > input.afterSeq;
  if (isOver || isGone) return notFound("The stream was");
  return { kind: "ok", value: { turn: viewTurn(turn), text, toSeq: turn.journalToSeq } };
}

/** Forgets a stored response. Its items stay in the conversation; a running one keeps running and is not found later. */
export function deleteTurn(
  context: StepContext,
  input: TurnInput,
): ConversationResult<{ readonly isDeleted: true }> {
  const turn = openTurn(context, input);
  if (turn === null || !turn.isStored) return notFound("The response was");
  context.store.deleteJournal(turn.turnRandom);
  context.store.writeTurn({ ...turn, isStored: false, body: null });
  return { kind: "ok", value: { isDeleted: true } };
}
