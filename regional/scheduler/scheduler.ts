import { admitToQueue } from "#shared/admission/admit-to-queue.ts";
import { ModelQueue } from "#shared/admission/model-queue.ts";
import type { DispatchVerdict, NextTurn } from "#shared/admission/model-queue.ts";
import type { QueuePolicy } from "#shared/admission/queue-policy.ts";
import type { Queued } from "#shared/admission/tenant-line.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { NoShardReason } from "#shared/conversation/turn-failure.ts";
import type { RejectedCandidate } from "#shared/protocol/internal/turn-outcome.ts";
import type { EngineRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Spill } from "#shared/routing/next-home.ts";
import type { Clock } from "../ports/clock.ts";
import type { RandomSource } from "../ports/random.ts";
import type { AnswerSeen, ChoiceReason, PredictedTimes, ShardBook } from "./shard-book.ts";

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
    }
  | {
      readonly kind: "none";
      readonly reason: NoShardReason;
      readonly rejected: readonly RejectedCandidate[];
      readonly retryAfterMs?: number;
    };

interface Waiter {
  readonly request: SlotRequest;
  readonly settle: (reply: SlotReply) => void;
  readonly stopTimer: () => void;
}

/**
 * The only dispatcher of a cell's shards. Reading counters, choosing and counting happen in one synchronous step, so two
 * turns never take one slot. A turn that finds every usable shard full for its class waits, fair among tenants
 * (shared/admission/model-queue.ts), at most as long as its class and its deadline; the queue is bounded. Work whose deadline
 * has passed is never dispatched.
 */
export interface Scheduler {
  /**
   * Answers through `reply`, at once or later, exactly once unless the returned function is called before: it takes the
   * turn out of the queue.
   */
  acquire(request: SlotRequest, reply: (reply: SlotReply) => void): () => void;
  /** Serves waiting turns again: a shard has become usable. */
  wake(): void;
  /** Turns waiting now, by model. */
  waiting(): ReadonlyMap<string, number>;
  /** From now on every request, waiting ones included, is answered `draining`. */
  drain(): void;
}

export interface SchedulerOptions {
  readonly book: ShardBook;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly policy: QueuePolicy;
}

/** Rejections that are about one prompt: they say nothing of the next one. */
const ownRejections: ReadonlySet<string> = new Set([
  "context",
  "excluded",
  "revision",
  "tenantSet",
]);

/** The class that a turn waits in: a begun answer is never held up by new ones. */
function classOf({ hasBegun = false, priority }: SlotRequest): Priority {
  return hasBegun ? "critical" : priority;
}

/** The scheduler of one cell. */
export function createScheduler(options: SchedulerOptions): Scheduler {
  const { book, clock, random, policy } = options;
  const queues = new Map<string, ModelQueue<Waiter>>();
  /** Of models that no shard was given for yet: made-up names of models make no queues. */
  const emptyQueue = new ModelQueue<Waiter>(policy);
  let waitingCount = 0;
  let isDraining = false;

  function queueOf(model: string): ModelQueue<Waiter> {
    const known = queues.get(model);
    if (known !== undefined) return known;
    const queue = new ModelQueue<Waiter>(policy);
    queues.set(model, queue);
    return queue;
  }

  function choose(
    request: SlotRequest,
    enqueuedAtMs: number,
    ceiling: number,
  ): SlotReply | "full" | "blocked" {
    const nowMs = clock.nowMs();
    if (request.deadlineMs <= nowMs)
      return { kind: "none", reason: "deadlinePassed", rejected: [] };
    const choice = book.choose(request, nowMs, ceiling);
    if (choice.kind === "none") {
      if (choice.reason !== "full") {
        return { kind: "none", reason: choice.reason, rejected: choice.rejected };
      }
      return choice.rejected.some(({ reason }) => ownRejections.has(reason)) ? "blocked" : "full";
    }
    const { demand, predicted, reason, rejected, runnersUp, score, shard, spill } = choice;
    const dispatch = book.begin(choice, nowMs);
    queueOf(request.model).charge(request.tenant, demand.workTokens, nowMs);
    let isReleased = false;
    const slot: Slot = {
      shard,
      reason,
      spill,
      score,
      runnersUp,
      predicted,
      firstToken() {
        if (!isReleased) book.firstToken(dispatch, clock.nowMs());
      },
      release(result, seen) {
        if (isReleased) return;
        isReleased = true;
        book.end(dispatch, result, seen, clock.nowMs());
        serve(request.model);
      },
    };
    return { kind: "chosen", slot, rejected, queueWaitMs: Math.max(0, nowMs - enqueuedAtMs) };
  }

  function left({ item }: Queued<Waiter>): void {
    waitingCount -= 1;
    item.stopTimer();
  }

  function drop(queued: Queued<Waiter>, reason: NoShardReason): void {
    if (!queueOf(queued.item.request.model).remove(queued)) return;
    left(queued);
    queued.item.settle({ kind: "none", reason, rejected: [] });
  }

  function dispatch({ ceiling, queued }: NextTurn<Waiter>): DispatchVerdict {
    const { request, settle } = queued.item;
    const reply = choose(request, queued.enqueuedAtMs, ceiling);
    if (reply === "full" || reply === "blocked") return reply;
    const queue = queueOf(request.model);
    if (reply.kind === "chosen") queue.take(queued);
    else queue.remove(queued);
    left(queued);
    settle(reply);
    return "gone";
  }

  function serve(model: string): void {
    queues.get(model)?.serve(clock.nowMs(), dispatch);
  }

  function enqueue(request: SlotRequest, reply: (reply: SlotReply) => void): () => void {
    const nowMs = clock.nowMs();
    const queue = queueOf(request.model);
    const load = {
      waitingForModel: queue.length,
      waiting: waitingCount,
      runningOfModel: book.runningOf(request.model),
    };
    const decision = admitToQueue(request, load, nowMs, () => random.unit(), policy);
    if (decision.kind === "refuse") {
      const { retryAfterMs } = decision;
      reply({ kind: "none", reason: "queueFull", rejected: [], retryAfterMs });
      return () => {};
    }
    const { deadlineMs, isLaterTurn = false, tenant } = request;
    const priority = classOf(request);
    const costTokens = book.workOf(request, nowMs);
    const waiter: Waiter = {
      request,
      settle: reply,
      stopTimer: clock.after(decision.expiresAtMs - nowMs, () => {
        const isLate = clock.nowMs() >= deadlineMs;
        drop(queued, isLate ? "deadlinePassed" : "queueTimeout");
      }),
    };
    const turn = { tenant, priority, isLaterTurn, costTokens, deadlineMs };
    const queued = queue.add(turn, waiter, nowMs);
    waitingCount += 1;
    return () => {
      if (queue.remove(queued)) left(queued);
    };
  }

  return {
    acquire(request, reply) {
      if (isDraining) {
        reply({ kind: "none", reason: "draining", rejected: [] });
        return () => {};
      }
      const { model } = request;
      const priority = classOf(request);
      const queue = queues.get(model) ?? emptyQueue;
      // Whoever waits already, no less important, is served first, also when a slot is free for this one.
      const chosen = queue.isFirst(priority)
        ? choose(request, clock.nowMs(), queue.ceilingOf(priority))
        : "full";
      if (chosen === "full" || chosen === "blocked") return enqueue(request, reply);
      reply(chosen);
      return () => {};
    },
    wake() {
      for (const model of queues.keys()) serve(model);
    },
    waiting: () => {
      const counts = [...queues].map(([model, queue]) => [model, queue.length] as const);
      return new Map(counts.filter(([, count]) => count > 0));
    },
    drain() {
      isDraining = true;
      for (const queue of queues.values()) {
        for (const queued of queue.all()) drop(queued, "draining");
      }
    },
  };
}
