import type { Priority } from "#shared/config/topology.ts";
import type { TurnElsewhere } from "#shared/conversation/turn-conditions.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { NoShardReason } from "#shared/conversation/turn-failure.ts";
import type { RejectedCandidate } from "#shared/protocol/internal/turn-outcome.ts";
import type { EngineRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Spill } from "#shared/routing/next-home.ts";
import type { AnswerSeen, ChoiceReason, PredictedTimes } from "./shard-choice.ts";

/** What a turn wants a shard for. */
export interface SlotRequest {
  readonly model: string;
  readonly homeShard: ShardId | null;
  readonly affinityKey: string;
  readonly excluded: readonly ShardId[];
  readonly priority: Priority;
  readonly promptTokensEstimate: number;
  readonly deadlineMs: number;
  readonly tenant: string;
  /** Null on the stateless lane. */
  readonly conversationId: string | null;
  /** Keys of the prompt's leading chunks (prompt-keys.ts). */
  readonly promptKeys: readonly number[];
  /** Of the engine. */
  readonly path: EngineRequest["path"];
  /** Longest answer that the client allows; null where it does not say. */
  readonly completionTokensMax: number | null;
  /** Set when only this shard will do. */
  readonly onlyShard?: ShardId;
  /** Turn 2 or later of a conversation, as far as the prompt shows; a first turn unless it is said. */
  readonly isLaterTurn?: boolean;
  /** The client has some of the answer already: it goes on before anything that has not begun. */
  readonly hasBegun?: boolean;
  /**
   * Of a begun answer: it waits until a shard may be used that has shown life since a prompt last failed there, and is refused
   * only with its cell or its deadline. Its turn says when it has waited enough.
   */
  readonly isPatient?: boolean;
  /** Another cell may take it; not unless it is said. */
  readonly mayMove?: boolean;
  /** Told once when it begins to wait for a shard to start, with the expected time, ms. */
  readonly onColdWait?: (expectedMs: number) => void;
}

/** A shard that could have been chosen. */
export interface RunnerUp {
  readonly id: ShardId;
  readonly score: number;
}

/** A place on a shard. */
export interface Slot {
  readonly shard: ShardId;
  readonly reason: ChoiceReason;
  /** Set when the conversation's home could have taken it later. */
  readonly spill: Spill | null;
  /** Less is better; of the shard and of the next best. */
  readonly score: number;
  readonly runnersUp: readonly RunnerUp[];
  readonly predicted: PredictedTimes;
  /** The first token is there. Repeatable. */
  firstToken(): void;
  /** Counts once, however often it is called. */
  release(result: TryResult, seen: AnswerSeen): void;
}

/** The scheduler's answer. */
export type SlotReply =
  | {
      readonly kind: "chosen";
      readonly slot: Slot;
      readonly rejected: readonly RejectedCandidate[];
      readonly queueWaitMs: number;
      /** Whether it waited for a shard to start. */
      readonly isColdWait?: boolean;
    }
  | {
      readonly kind: "none";
      readonly reason: NoShardReason;
      readonly rejected: readonly RejectedCandidate[];
      readonly retryAfterMs?: number;
    };

/** The turns of one class that wait for one model, as metrics show them. */
export interface QueueStatus {
  readonly model: string;
  readonly priority: Priority;
  readonly waiting: number;
  /** Longest wait now, ms. */
  readonly oldestMs: number;
  /** Whether the class's waits are too long for good: the newest is served first. */
  readonly isOverloaded: boolean;
}

/**
 * The only dispatcher of a cell's shards. Reading counters, choosing and counting happen in one synchronous step, so two
 * turns never take one slot. A turn that finds every usable shard full for its class waits, is refused at once, or later gives
 * its place up, as shared/admission/model-admission.ts decides; the queue is bounded in length and age. Work whose deadline
 * has passed is never dispatched, and what runs is never ended for what waits.
 */
export interface Scheduler {
  /**
   * Answers through `reply`, at once or later, exactly once unless the returned function is called before: it takes the
   * turn out of the queue.
   */
  acquire(request: SlotRequest, reply: (reply: SlotReply) => void): () => void;
  /** Who else than the shards that `request` excludes could serve it now. Changes nothing. */
  elsewhere(request: SlotRequest): TurnElsewhere;
  /** Serves waiting turns again: a shard has become usable, or time has passed. Call it several times a second. */
  wake(): void;
  /** Turns waiting now, by model. */
  waiting(): ReadonlyMap<string, number>;
  /** From now on every request, waiting ones included, is answered `draining`. */
  drain(): void;
}

/** Who asks for how much of a model, as far as it decides who gives way first. */
export interface TenantShares {
  /**
   * Whether the turn's class asks for more than there is, and its tenant for no more than its fair share; false while all
   * fit.
   */
  isWithinShare(request: Pick<SlotRequest, "model" | "tenant" | "priority">): boolean;
  /** Counts a new turn that was refused before it was given to `acquire`: it was asked for all the same. */
  turnedAway(request: SlotRequest): void;
}

/** A scheduler that shows its queues. */
export interface CellScheduler extends Scheduler, TenantShares {
  /** Of every model and class. */
  queues(): readonly QueueStatus[];
  /** Begun answers that wait for a shard to come back, by model. */
  patients(): ReadonlyMap<string, number>;
  /** Share of the arrivals that is shed, 0..1, by model. */
  shedRatios(): ReadonlyMap<string, number>;
}
