import type { TurnOutcome } from "../protocol/internal/turn-outcome.ts";
import { noUsage } from "../protocol/usage.ts";
import type { CellId, RegionId } from "../residency/brands.ts";
import { endTurn } from "./run-turn.ts";
import type { StepContext } from "./step.ts";

/** A running turn that nobody reported for a while: the object asks the cell itself. */
export interface Pull {
  readonly cell: CellId;
  readonly turnId: string;
  readonly attempt: number;
  readonly afterSeq: number;
}

/** When the object must look after its running turn, ms since the epoch; null when none runs. */
export function watchdogDueMs(context: StepContext): number | null {
  const head = context.store.readHead();
  if (head === null || head.runningTurnRandom === null || head.erasure !== "none") return null;
  const turn = context.store.readTurn(head.runningTurnRandom);
  return turn === null ? null : turn.heardAtMs + context.policy.watchdogMs;
}

/** The pull that is due now, or null. */
export function duePull(context: StepContext): Pull | null {
  const dueMs = watchdogDueMs(context);
  const head = context.store.readHead();
  if (dueMs === null || dueMs > context.nowMs || head?.runningTurnRandom == null) return null;
  const turn = context.store.readTurn(head.runningTurnRandom);
  if (turn === null) return null;
  return {
    cell: turn.cell,
    turnId: turn.turnId,
    attempt: turn.attempt,
    afterSeq: turn.journalToSeq,
  };
}

/** What a pull found besides frames and an outcome, which go through `checkpoint` and `completeTurn`. */
export type PullFinding =
  /** The cell answered; the turn still runs. */
  | "running"
  /** The cell cannot be reached. */
  | "unreachable"
  /** The cell does not know the turn: it restarted, or never got it. */
  | "unknown";

/**
 * Takes in a pull that brought no outcome. A turn that the cell lost, that cannot be reached several times in a row, or
 * whose deadline has passed is ended as failed, so that the conversation is free again; its input is withdrawn.
 */
export function afterPull(
  context: StepContext,
  pull: Pull,
  finding: PullFinding,
): "waiting" | "ended" {
  const head = context.store.readHead();
  if (head === null || head.runningTurnRandom === null || head.erasure !== "none") return "ended";
  const turn = context.store.readTurn(head.runningTurnRandom);
  if (turn === null || turn.turnId !== pull.turnId || turn.attempt !== pull.attempt)
    return "waiting";
  const isLate = context.nowMs > turn.deadlineMs + context.policy.watchdogMs;
  const pullFailures = finding === "running" ? 0 : turn.pullFailures + 1;
  if (!isLate && finding !== "unknown" && pullFailures < context.policy.pullFailuresMax) {
    context.store.writeTurn({ ...turn, heardAtMs: context.nowMs, pullFailures });
    return "waiting";
  }
  const outcome: TurnOutcome = {
    v: 1,
    turnId: pull.turnId as TurnOutcome["turnId"],
    attempt: pull.attempt,
    status: "failed",
    error: isLate
      ? { code: "deadline_exceeded", message: "The prompt was not finished before its deadline." }
      : {
          code: "interrupted",
          message: "The cell that ran the prompt was lost. Send the prompt again.",
        },
    mayMove: false,
    continuations: turn.continuations,
    cell: turn.cell,
    region: "" as RegionId,
    shard: null,
    rejected: [],
    usage: noUsage,
    finishReasons: [],
    items: [],
    body: null,
    queueWaitMs: 0,
    ttftMs: null,
    totalMs: context.nowMs - turn.createdAtMs,
  };
  endTurn(context, head, turn, outcome);
  return "ended";
}
