import type { TurnStanding } from "#shared/admission/model-queue.ts";
import type { RefusalReason } from "#shared/admission/refusal.ts";
import type { ShedSubject } from "#shared/admission/shed-cohorts.ts";
import type { NoShardReason } from "#shared/conversation/turn-failure.ts";
import type { SlotRequest } from "./scheduler.ts";

/** Rejections that are about one prompt: they say nothing of the next one. */
export const ownRejections: ReadonlySet<string> = new Set([
  "context",
  "excluded",
  "revision",
  "tenantSet",
]);

/** Those of them that hold whatever becomes of the shard. */
export const fitReasons: ReadonlySet<string> = new Set(["context", "revision", "tenantSet"]);

/** Whose it is and the class that it waits in: a begun answer is never held up by new ones. */
export function standingOf({ hasBegun = false, priority, tenant }: SlotRequest): TurnStanding {
  return { tenant, priority: hasBegun ? "critical" : priority, hasBegun };
}

/** Whether a turn is new work. Another try of one that was let in, and the rest of a begun answer, are not. */
export function isArrival({ excluded, hasBegun = false }: SlotRequest): boolean {
  return excluded.length === 0 && !hasBegun;
}

/** Who would be shed with the turn. */
export function subjectOf({
  affinityKey,
  isLaterTurn = false,
  priority,
  tenant,
}: SlotRequest): ShedSubject {
  return { tenant, user: affinityKey, priority, isLaterTurn };
}

/** What the turn's machine is told of a refusal. */
export const told: Readonly<Record<RefusalReason, NoShardReason>> = {
  shed: "shed",
  displaced: "shed",
  longQueue: "shed",
  predictedLate: "queueFull",
  waitTooLong: "queueFull",
  modelQueueFull: "queueFull",
  cellQueueFull: "queueFull",
  queueTimeout: "queueTimeout",
  deadlineTooShort: "deadlinePassed",
  deadlinePassed: "deadlinePassed",
  roomTimeout: "unhealthy",
  coldElsewhere: "cold",
  coldTooLong: "cold",
  coldTimeout: "cold",
  draining: "draining",
};

/** Why a turn is refused whose deadline has passed, or would pass before its first token. */
export const deadlineReasons = { late: "deadlinePassed", tooShort: "deadlineTooShort" } as const;
