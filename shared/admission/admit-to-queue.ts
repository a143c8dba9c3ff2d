import type { Priority } from "../config/topology.ts";
import type { FinishDecision } from "./foresee-finish.ts";
import type { QueuePolicy } from "./queue-policy.ts";

/** What waits already. */
export interface QueueLoad {
  readonly waitingForModel: number;
  readonly waiting: number;
  /** Whether a waiting turn of the model would have to give its place to this one. */
  readonly canDisplace: boolean;
  /** Whether it would wait for the first shard of its model, not for a free one. */
  readonly isRoom: boolean;
  /** How long it may wait for that one, ms; the policy's time by default. */
  readonly roomMsMax?: number;
  /** Asked only when there is a place, and a shard to wait for. */
  readonly foresee: () => FinishDecision;
}

/** Whether a turn may wait, and until when, or why not. */
export type QueueDecision =
  | {
      readonly kind: "wait";
      readonly reason: "roomLeft" | "displaces";
      readonly expiresAtMs: number;
    }
  | {
      readonly kind: "refuse";
      readonly reason:
        | "modelQueueFull"
        | "cellQueueFull"
        | "deadlinePassed"
        | "deadlineTooShort"
        | "predictedLate"
        | "waitTooLong";
    };

/**
 * Decides whether a turn joins the queue. It may wait as long as its class, and never past its deadline. A full queue takes it
 * when another one gives way. It is refused at once when it is foreseen to come too late.
 */
export function admitToQueue(
  turn: { readonly priority: Priority; readonly deadlineMs: number },
  load: QueueLoad,
  nowMs: number,
  policy: QueuePolicy,
): QueueDecision {
  if (turn.deadlineMs <= nowMs) return { kind: "refuse", reason: "deadlinePassed" };
  const isCellFull = load.waiting >= policy.waitingMax;
  const isFull = isCellFull || load.waitingForModel >= policy.waitingPerModelMax;
  if (isFull && !load.canDisplace) {
    return { kind: "refuse", reason: isCellFull ? "cellQueueFull" : "modelQueueFull" };
  }
  const finish = load.isRoom ? null : load.foresee();
  if (finish?.kind === "refuse") return { kind: "refuse", reason: finish.reason };
  const waitMsMax = load.isRoom
    ? (load.roomMsMax ?? policy.roomMsMax)
    : policy.waitMsMax[turn.priority];
  const expiresAtMs = Math.min(turn.deadlineMs, nowMs + waitMsMax);
  return { kind: "wait", reason: isFull ? "displaces" : "roomLeft", expiresAtMs };
}
