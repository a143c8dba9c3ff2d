import { queueDelayOf } from "#shared/overload/queue-delay.ts";
import type { WaitingTurn } from "#shared/overload/queue-delay.ts";
import type { Clock } from "../ports/clock.ts";
import type { Scheduler, SlotRequest } from "../scheduler/scheduler.ts";

/** A scheduler that tells how long its turns wait. */
export interface WatchedScheduler extends Scheduler {
  /**
   * Longest wait of those that wait now, over the time to first token that their class is promised; 0 when none waits.
   * Batch does not count: it is there to wait.
   */
  queueDelay(): number;
}

/** Watches the queue of `scheduler` from outside; changes nothing of it. */
export function watchQueue(scheduler: Scheduler, clock: Clock): WatchedScheduler {
  const waiting = new Set<WaitingTurn>();
  return {
    ...scheduler,
    acquire(request, reply) {
      const entry: WaitingTurn = { sinceMs: clock.nowMs(), priority: request.priority };
      waiting.add(entry);
      const watched: SlotRequest = {
        ...request,
        onColdWait(expectedMs) {
          // Who waits for a shard to start waits for no other turn: nothing is overloaded.
          waiting.delete(entry);
          request.onColdWait?.(expectedMs);
        },
      };
      const leave = scheduler.acquire(watched, (answer) => {
        waiting.delete(entry);
        reply(answer);
      });
      return () => {
        waiting.delete(entry);
        leave();
      };
    },
    queueDelay: () => queueDelayOf(waiting, clock.nowMs()),
  };
}
