import type { ErrorOutcome } from "../errors/gateway-error.ts";
import { errorFrame } from "../protocol/encoders/error-frame.ts";
import { formatClientFrame } from "../protocol/internal/stream.ts";
import type { TurnOutcome } from "../protocol/internal/turn-outcome.ts";
import type { Usage } from "../protocol/usage.ts";
import { noUsage } from "../protocol/usage.ts";
import type { RegionId, ShardId } from "../residency/brands.ts";
import { endTurn, journal } from "./run-turn.ts";
import type { RunningTurn } from "./run-turn.ts";
import type { StepContext } from "./step.ts";

/** A turn whose cell was lost, past the bounds within which it is begun anew. */
export const lostError: ErrorOutcome = {
  code: "interrupted",
  message: "The cell that ran the prompt was lost. Send the prompt again.",
};

/** A turn that its client ended. */
export const cancelledError: ErrorOutcome = {
  code: "cancelled",
  message: "The response was cancelled. What was received is not complete.",
};

/** How the object itself ends a turn. */
export interface Verdict {
  readonly status: "failed" | "cancelled";
  readonly error: ErrorOutcome;
  /** What the cell counted, where it could be asked. */
  readonly usage?: Usage;
  readonly shard?: ShardId | null;
}

/**
 * Ends the turn without an answer: its input is withdrawn, what is known of its usage is billed, and the journal of a
 * streamed turn gets the event that tells its readers so.
 */
export function endByVerdict(
  context: StepContext,
  { head, turn }: RunningTurn,
  { status, error, usage = noUsage, shard = null }: Verdict,
): void {
  const { rendering } = turn.template;
  const seq = turn.journalToSeq + 1;
  const text = formatClientFrame(seq, errorFrame(rendering.api, error, seq));
  const ended = rendering.stream
    ? journal(context, turn, { fromSeq: seq, toSeq: seq, text })
    : turn;
  const outcome: TurnOutcome = {
    v: 1,
    turnId: turn.turnId as TurnOutcome["turnId"],
    attempt: turn.attempt,
    status,
    error,
    mayMove: false,
    continuations: turn.continuations,
    cell: turn.cell,
    // The object knows cells, not their regions; an outcome that it makes itself never leaves it.
    region: "" as RegionId,
    shard,
    rejected: [],
    usage,
    finishReasons: [],
    items: [],
    body: null,
    queueWaitMs: 0,
    ttftMs: null,
    totalMs: context.nowMs - turn.createdAtMs,
  };
  endTurn(context, head, ended, outcome);
}
