import type { Priority } from "../config/topology.ts";
import type { QueuePolicy } from "./queue-policy.ts";

/** What waits already. */
export interface QueueLoad {
  readonly waitingForModel: number;
  readonly waiting: number;
  /** Turns of this model that run now, on all its shards. */
  readonly runningOfModel: number;
}

/** Whether a turn may wait, and how long; or when trying again may help. */
export type QueueDecision =
  | { readonly kind: "wait"; readonly reason: "roomLeft"; readonly expiresAtMs: number }
  | {
      readonly kind: "refuse";
      readonly reason: "modelQueueFull" | "cellQueueFull" | "deadlinePassed";
      readonly retryAfterMs: number;
    };

/** Waits that are told to clients, ms: never none, never longer than they would wait themselves. */
const retryAfterMsMin = 500;
const retryAfterMsMax = 10_000;

/**
 * Decides whether a turn joins the queue. It may wait as long as its class, and never past its deadline. A refused client
 * is told a wait that grows with the queue, spread by ±25 % so that the refused do not come back together.
 */
export function admitToQueue(
  turn: { readonly priority: Priority; readonly deadlineMs: number },
  load: QueueLoad,
  nowMs: number,
  random: () => number,
  policy: QueuePolicy,
): QueueDecision {
  const retryAfterMs = (): number => {
    const rounds = (load.waitingForModel + 1) / Math.max(1, load.runningOfModel);
    const waitMs = Math.min(retryAfterMsMax, Math.max(retryAfterMsMin, 1_000 * rounds));
    return Math.round(waitMs * (0.75 + 0.5 * random()));
  };
  if (turn.deadlineMs <= nowMs) {
    return { kind: "refuse", reason: "deadlinePassed", retryAfterMs: retryAfterMs() };
  }
  if (load.waiting >= policy.waitingMax) {
    return { kind: "refuse", reason: "cellQueueFull", retryAfterMs: retryAfterMs() };
  }
  if (load.waitingForModel >= policy.waitingPerModelMax) {
    return { kind: "refuse", reason: "modelQueueFull", retryAfterMs: retryAfterMs() };
  }
  const expiresAtMs = Math.min(turn.deadlineMs, nowMs + policy.waitMsMax[turn.priority]);
  return { kind: "wait", reason: "roomLeft", expiresAtMs };
}
