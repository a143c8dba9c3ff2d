import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import { deferredMax, defersBatch } from "#shared/overload/level-switches.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import type { Clock } from "../ports/clock.ts";
import type { Scheduler, SlotReply, SlotRequest } from "../scheduler/scheduler.ts";

/** Retry-After of a batch turn that finds no place to wait, or waited in vain, ms. */
const retryAfterMs = 30_000;

/** A scheduler that keeps batch turns back while the cell is busy. */
export interface DeferringScheduler extends Scheduler {
  /** Lets go what may run, or may not wait any more; call it a few times a second. */
  tick(): void;
  /** Batch turns that are kept back. */
  deferredCount(): number;
}

export interface DeferOptions {
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly level: () => DegradationLevel;
  /** Whether the cell has room for batch at this moment. */
  readonly hasRoom: () => boolean;
}

interface Deferred {
  readonly request: SlotRequest;
  readonly reply: (reply: SlotReply) => void;
  readonly sinceMs: number;
  /** Takes it out of the scheduler's queue once it is there. */
  leave: (() => void) | null;
}

/**
 * Keeps batch turns in front of `scheduler` while the level asks for it and the cell has no room, oldest first, at most as long
 * as their class may wait. All other turns pass, and so does a begun answer that waits for a shard to come back.
 */
export function deferBatch(options: DeferOptions): DeferringScheduler {
  const { clock, hasRoom, level, scheduler } = options;
  const deferred = new Set<Deferred>();
  const isHeld = (): boolean => defersBatch(level()) && !hasRoom();

  function hand(entry: Deferred): void {
    deferred.delete(entry);
    const waitedMs = Math.max(0, clock.nowMs() - entry.sinceMs);
    entry.leave = scheduler.acquire(entry.request, (reply) => {
      if (reply.kind === "none") return entry.reply(reply);
      entry.reply({ ...reply, queueWaitMs: reply.queueWaitMs + waitedMs });
    });
  }

  function refuse(entry: Deferred, reason: "queueFull" | "queueTimeout"): void {
    deferred.delete(entry);
    entry.reply({ kind: "none", reason, rejected: [], retryAfterMs });
  }

  return {
    ...scheduler,
    acquire(request, reply) {
      const isOwed = request.priority !== "batch" || request.isPatient === true;
      if (isOwed || (deferred.size === 0 && !isHeld())) {
        return scheduler.acquire(request, reply);
      }
      const entry: Deferred = { request, reply, sinceMs: clock.nowMs(), leave: null };
      if (deferred.size >= deferredMax) {
        refuse(entry, "queueFull");
        return () => {};
      }
      deferred.add(entry);
      return () => {
        if (!deferred.delete(entry)) entry.leave?.();
      };
    },
    tick() {
      const nowMs = clock.nowMs();
      for (const entry of deferred) {
        const endMs = Math.min(
          entry.request.deadlineMs,
          entry.sinceMs + defaultQueuePolicy.waitMsMax.batch,
        );
        if (nowMs >= endMs) refuse(entry, "queueTimeout");
        else if (!isHeld()) hand(entry);
      }
    },
    deferredCount: () => deferred.size,
    drain() {
      scheduler.drain();
      for (const entry of deferred) {
        deferred.delete(entry);
        entry.reply({ kind: "none", reason: "draining", rejected: [] });
      }
    },
  };
}
