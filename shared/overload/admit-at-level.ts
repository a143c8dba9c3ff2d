import { isLaterTurn } from "../admission/later-turn.ts";
import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { TurnRequest } from "../protocol/internal/turn-request.ts";
import type { DegradePolicy } from "./degrade-policy.ts";
import type { DegradationLevel } from "./level-policy.ts";

/** Why a cell refuses a turn before it is queued: metric label and assertion. */
export type LevelRefusal = "onlyCritical" | "batchRejected" | "newRefused" | "overflow";

/** What the refusal depends on besides the turn. */
export interface LevelLoad {
  readonly level: DegradationLevel;
  /** Used share of the healthy capacity now. */
  readonly saturation: number;
  /** Longest wait / SLO now. */
  readonly queueDelay: number;
  /** Whether the cell has a shard that may be used for the turn; without one the scheduler says so, honestly. */
  readonly hasCapacity: boolean;
  /** Whether others of its class ask for more than their fair share of what there is, and its tenant for no more. */
  readonly isWithinShare: boolean;
  /** Whether another cell of the jurisdiction serves the model. */
  readonly hasOtherCell: boolean;
}

function hasRoom({ priority }: TurnRequest, load: LevelLoad, policy: DegradePolicy): boolean {
  const room = policy.roomBelow[priority];
  if (room === null) return false;
  const below = load.level === 4 ? policy.roomAtFour * room : room;
  return load.saturation < below && load.queueDelay < policy.roomDelayBelow;
}

function refusalOf(
  request: TurnRequest,
  load: LevelLoad,
  policy: DegradePolicy,
): LevelRefusal | null {
  const { priority, resume } = request;
  const { level } = load;
  // A running stream is never shed for a new one.
  if (resume !== null || priority === "critical" || level < 3 || !load.hasCapacity) return null;
  if (load.isWithinShare || hasRoom(request, load, policy)) return null;
  if (level === 4) return "onlyCritical";
  if (priority === "batch") return "batchRejected";
  if (isLaterTurn(request)) return null;
  if (priority === "standard") return "newRefused";
  // A turn that another cell has passed on stays: it must not go round.
  return load.hasOtherCell && request.hop === 0 ? "overflow" : null;
}

const messages: Readonly<Record<LevelRefusal, string>> = {
  onlyCritical:
    "The service is busier than it can be and answers critical requests only at the moment. Try again later.",
  batchRejected: "The service is too busy for batch requests at the moment. Try again later.",
  newRefused:
    "The service is too busy to begin a conversation of this priority at the moment. Try again later.",
  overflow: "This cell is too busy to begin a conversation. Try again shortly.",
};

/** A refusal with its reason, or null: the turn may run. */
export type LevelAdmission = {
  readonly reason: LevelRefusal;
  readonly error: ErrorOutcome;
} | null;

/**
 * Decides whether a cell takes a turn at its level. Below 3 it takes all; at 3 no batch, no new conversations of the standard
 * class, and new interactive ones only when no other cell was asked yet and could take them, each only while the cell has no
 * room; at 4 the critical class alone, and others while much of the cell is idle: what caused the level is over long before
 * its dwell is, and capacity that came back is not to wait for it. Where tenants of the class ask for more than their fair share
 * of what can be done, they are who is refused: whoever asks for no more is taken at 3 and 4 as below. A begun answer is always taken. Refusals are `saturated`, with a wait drawn from 0.75 to
 * 1.5 times the class's, so that the refused do not come back together.
 */
export function admitAtLevel(
  request: TurnRequest,
  load: LevelLoad,
  random: () => number,
  policy: DegradePolicy,
): LevelAdmission {
  const reason = refusalOf(request, load, policy);
  if (reason === null) return null;
  const retryAfterMs = Math.round(policy.retryAfterMs[request.priority] * (0.75 + 0.75 * random()));
  return { reason, error: { code: "saturated", message: messages[reason], retryAfterMs } };
}
