import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";

/** Work that came in one step and waits. */
interface Entry {
  readonly sinceMs: number;
  amount: number;
}

/** An amount of requests that left the queue. */
export interface Served {
  readonly priority: Priority;
  readonly amount: number;
  readonly waitedMs: number;
}

/**
 * Requests as a flow: amounts, not single ones. The upper class goes first, within a class the oldest; what has waited too long
 * is shed. Whatever comes is served, shed or waiting.
 */
export interface ClassQueues {
  add(priority: Priority, amount: number, nowMs: number): void;
  /** Sheds what is older than the client's patience, and serves at most `capacity` requests. */
  serve(capacity: number, nowMs: number): readonly Served[];
  waiting(): number;
  readonly shed: Record<Priority, number>;
}

/** A client's patience, ms: as in the request-level simulator. */
export const patienceMs = 30_000;

/** Makes empty queues. */
export function createClassQueues(): ClassQueues {
  const queues = new Map<Priority, Entry[]>(priorities.map((priority) => [priority, []]));
  const shed: Record<Priority, number> = { critical: 0, interactive: 0, standard: 0, batch: 0 };
  const queueOf = (priority: Priority): Entry[] => queues.get(priority) ?? [];
  return {
    shed,
    add(priority, amount, nowMs) {
      if (amount > 0) queueOf(priority).push({ sinceMs: nowMs, amount });
    },
    serve(capacity, nowMs) {
      const served: Served[] = [];
      let left = capacity;
      for (const priority of priorities) {
        const queue = queueOf(priority);
        for (let first = queue[0]; first !== undefined; first = queue[0]) {
          const waitedMs = nowMs - first.sinceMs;
          if (waitedMs > patienceMs) {
            shed[priority] += first.amount;
            queue.shift();
            continue;
          }
          if (left <= 0) break;
          const amount = Math.min(left, first.amount);
          served.push({ priority, amount, waitedMs });
          left -= amount;
          first.amount -= amount;
          if (first.amount <= 1e-9) queue.shift();
        }
      }
      return served;
    },
    waiting() {
      let sum = 0;
      for (const queue of queues.values()) for (const { amount } of queue) sum += amount;
      return sum;
    },
  };
}
