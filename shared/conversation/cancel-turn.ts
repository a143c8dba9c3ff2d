import type { TurnOutcome } from "../protocol/internal/turn-outcome.ts";
import { cancelledError, endByVerdict } from "./end-by-verdict.ts";
import type { ConversationResult, ConversationScope, JournalSegment, TurnView } from "./rpc.ts";
import { endTurn, journal } from "./run-turn.ts";
import { notFound, openHead, refuse, viewTurn } from "./step.ts";
import type { StepContext } from "./step.ts";
import { heldBy, markCancelled } from "./watchdog.ts";
import type { Cancel } from "./watchdog.ts";

/**
 * Begins to end a background turn: from now on the alarm would end it too. Null when the turn has ended before: it is
 * given back as it is.
 */
export function requestCancel(
  context: StepContext,
  input: { readonly scope: ConversationScope; readonly turnRandom: string },
): ConversationResult<Cancel | null> {
  const head = openHead(context, input.scope);
  const turn = head === null ? null : context.store.readTurn(input.turnRandom);
  if (turn === null || !turn.isStored) return notFound("The response was");
  if (!turn.isBackground) {
    return refuse(
      "invalid_request",
      "Only a response that was created with 'background' can be cancelled. End the connection of another one.",
    );
  }
  if (turn.state !== "running") return { kind: "ok", value: null };
  return { kind: "ok", value: markCancelled(context, turn.turnRandom) };
}

/** What a cell answers that was told to stop an attempt. */
export type StopReply =
  | {
      readonly kind: "stopped";
      /** Frames that the object lacked. */
      readonly segment: JournalSegment | null;
      /** Frames that end the stream, of a turn that had ended already. */
      readonly terminal: JournalSegment | null;
      /** Null when nothing of the attempt was kept. */
      readonly outcome: TurnOutcome | null;
    }
  /** The cell does not know the attempt. */
  | { readonly kind: "unknown" }
  | { readonly kind: "unreachable" };

/**
 * Ends the turn as cancelled. One that had ended at its cell before the abort came is completed: its answer is whole and was
 * paid for. A cell that cannot be reached is told again by the outbox; what it counted is not known and not billed.
 */
export function afterCancel(context: StepContext, cancel: Cancel, reply: StopReply): void {
  const running = heldBy(context, cancel);
  if (running === null) return;
  const { head } = running;
  const { cell, turnId, attempt } = cancel;
  if (reply.kind === "unreachable") {
    context.store.addOutbox({ kind: "abort", cell, turnId, attempt });
  }
  if (reply.kind !== "stopped" || reply.outcome === null) {
    endByVerdict(context, running, { status: "cancelled", error: cancelledError });
    return;
  }
  const { outcome, segment, terminal } = reply;
  const turn = journal(context, running.turn, segment);
  if (outcome.error === null) {
    endTurn(context, head, journal(context, turn, terminal), outcome);
    return;
  }
  const { usage, shard } = outcome;
  endByVerdict(
    context,
    { head, turn },
    { status: "cancelled", error: cancelledError, usage, shard },
  );
}

/** The turn as it is after its cancellation. */
export function readCancelled(
  context: StepContext,
  turnRandom: string,
): ConversationResult<TurnView> {
  const turn = context.store.readTurn(turnRandom);
  return turn === null ? notFound("The response was") : { kind: "ok", value: viewTurn(turn) };
}
