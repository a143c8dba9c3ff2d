import type { Priority } from "#shared/config/topology.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
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

interface Waiting {
  readonly sinceMs: number;
  readonly priority: Priority;
}

/** Watches the queue of `scheduler` from outside; changes nothing of it. */
export function watchQueue(scheduler: Scheduler, clock: Clock): WatchedScheduler {
  const waiting = new Set<Waiting>();
  return {
    ...scheduler,
    acquire(request, reply) {
      const entry: Waiting = { sinceMs: clock.nowMs(), priority: request.priority };
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
    queueDelay() {
      const nowMs = clock.nowMs();
      let longest = 0;
      for (const { priority, sinceMs } of waiting) {
        if (priority === "batch") continue;
        const sloMs = 1000 * defaultSelectionPolicy.ttftSloSeconds[priority];
        longest = Math.max(longest, (nowMs - sinceMs) / sloMs);
      }
      return longest;
    },
  };
}
