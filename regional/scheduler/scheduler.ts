import { admitToQueue } from "#shared/admission/admit-to-queue.ts";
import type { QueuePolicy } from "#shared/admission/queue-policy.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { NoShardReason } from "#shared/conversation/turn-failure.ts";
import type { RejectedCandidate } from "#shared/protocol/internal/turn-outcome.ts";
import type { EngineRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";
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
}

/** A place on a shard. */
export interface Slot {
  readonly shard: ShardId;
  readonly reason: ChoiceReason;
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
  readonly enqueuedAtMs: number;
  readonly settle: (reply: SlotReply) => void;
  readonly stopTimer: () => void;
}

/**
 * The only dispatcher of a cell's shards. Reading counters, choosing and counting happen in one synchronous step, so two
 * turns never take one slot. A turn that finds every usable shard full waits, first come first served per model, at most
 * as long as its class; the queue is bounded.
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

/** The scheduler of one cell. */
export function createScheduler(options: SchedulerOptions): Scheduler {
  const { book, clock, random, policy } = options;
  const queues = new Map<string, Set<Waiter>>();
  let waitingCount = 0;
  let isDraining = false;

  function choose(request: SlotRequest, enqueuedAtMs: number): SlotReply | "full" {
    const nowMs = clock.nowMs();
    const choice = book.choose(request, nowMs);
    if (choice.kind === "none") {
      if (choice.reason === "full") return "full";
      return { kind: "none", reason: choice.reason, rejected: choice.rejected };
    }
    const { predicted, reason, rejected, shard } = choice;
    const dispatch = book.begin(choice, nowMs);
    let isReleased = false;
    const slot: Slot = {
      shard,
      reason,
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

  function leave(waiter: Waiter): boolean {
    const queue = queues.get(waiter.request.model);
    if (queue === undefined || !queue.delete(waiter)) return false;
    if (queue.size === 0) queues.delete(waiter.request.model);
    waitingCount -= 1;
    waiter.stopTimer();
    return true;
  }

  function serve(model: string): void {
    for (const waiter of queues.get(model) ?? []) {
      const reply = choose(waiter.request, waiter.enqueuedAtMs);
      // A later turn may exclude other shards, so the next one is asked as well.
      if (reply === "full") continue;
      if (leave(waiter)) waiter.settle(reply);
    }
  }

  function enqueue(request: SlotRequest, reply: (reply: SlotReply) => void): () => void {
    const nowMs = clock.nowMs();
    const load = {
      waitingForModel: queues.get(request.model)?.size ?? 0,
      waiting: waitingCount,
      runningOfModel: book.runningOf(request.model),
    };
    const decision = admitToQueue(request, load, nowMs, () => random.unit(), policy);
    if (decision.kind === "refuse") {
      const { retryAfterMs } = decision;
      reply({ kind: "none", reason: "queueFull", rejected: [], retryAfterMs });
      return () => {};
    }
    const waiter: Waiter = {
      request,
      enqueuedAtMs: nowMs,
      settle: reply,
      stopTimer: clock.after(decision.expiresAtMs - nowMs, () => {
        if (leave(waiter)) reply({ kind: "none", reason: "queueTimeout", rejected: [] });
      }),
    };
    const queue = queues.get(request.model) ?? new Set<Waiter>();
    queue.add(waiter);
    queues.set(request.model, queue);
    waitingCount += 1;
    return () => {
      leave(waiter);
    };
  }

  return {
    acquire(request, reply) {
      if (isDraining) {
        reply({ kind: "none", reason: "draining", rejected: [] });
        return () => {};
      }
      // Whoever waits already is served first, also when a slot is free for this one.
      const isFirst = (queues.get(request.model)?.size ?? 0) === 0;
      const chosen = isFirst ? choose(request, clock.nowMs()) : "full";
      if (chosen === "full") return enqueue(request, reply);
      reply(chosen);
      return () => {};
    },
    wake() {
      for (const model of queues.keys()) serve(model);
    },
    waiting: () => new Map([...queues].map(([model, queue]) => [model, queue.size])),
    drain() {
      isDraining = true;
      for (const queue of queues.values()) {
        for (const waiter of queue) {
          if (leave(waiter)) waiter.settle({ kind: "none", reason: "draining", rejected: [] });
        }
      }
    },
  };
}
