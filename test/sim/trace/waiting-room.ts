import { admitToQueue } from "#shared/admission/admit-to-queue.ts";
import { ModelQueue } from "#shared/admission/model-queue.ts";
import type { DispatchVerdict } from "#shared/admission/model-queue.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import type { QueuedTurn } from "#shared/admission/tenant-line.ts";
import type { Priority } from "#shared/config/topology.ts";

/** Requests that no shard may take now, in the product's own queue. */
export interface WaitingRoom {
  size(): number;
  /** Whether a request of the class may be tried before anybody who waits. */
  isFirst(priority: Priority): boolean;
  /** Saturation from which on a shard is full for the class now. */
  ceilingOf(priority: Priority): number;
  /** Lets a request wait; false: there is no room. */
  enter(id: number, turn: QueuedTurn, nowMs: number): boolean;
  /** Counts work that a tenant was given. */
  charge(tenant: string, tokens: number, nowMs: number): void;
  /** Takes out who waited too long, then offers the others in the order of service. */
  serve(nowMs: number, act: WaitingActs): void;
}

/** What is done with those who wait. */
export interface WaitingActs {
  readonly expire: (id: number) => void;
  /** `gone`: it was dispatched. */
  readonly dispatch: (id: number, ceiling: number) => DispatchVerdict;
}

interface Waiter {
  readonly id: number;
  readonly expiresAtMs: number;
}

/** Makes an empty room with the product's bounds. */
export function createWaitingRoom(): WaitingRoom {
  const policy = defaultQueuePolicy;
  const queue = new ModelQueue<Waiter>(policy);
  /** When somebody's time is up next; nobody is looked for before. */
  let nextExpiryMs = Infinity;

  return {
    size: () => queue.length,
    isFirst: (priority) => queue.isFirst(priority),
    ceilingOf: (priority) => queue.ceilingOf(priority),
    charge: (tenant, tokens, nowMs) => queue.charge(tenant, tokens, nowMs),
    enter(id, turn, nowMs) {
      const load = {
        waitingForModel: queue.length,
        waiting: queue.length,
        canDisplace: false,
        isRoom: false,
        foresee: () => ({ kind: "worthwhile", reason: "inTime", waitMs: 0 }) as const,
      };
      const decision = admitToQueue(turn, load, nowMs, policy);
      if (decision.kind === "refuse") return false;
      queue.add(turn, { id, expiresAtMs: decision.expiresAtMs }, nowMs);
      nextExpiryMs = Math.min(nextExpiryMs, decision.expiresAtMs);
      return true;
    },
    serve(nowMs, { dispatch, expire }) {
      if (nowMs >= nextExpiryMs) {
        nextExpiryMs = Infinity;
        for (const queued of queue.all()) {
          const { expiresAtMs, id } = queued.item;
          if (expiresAtMs > nowMs) nextExpiryMs = Math.min(nextExpiryMs, expiresAtMs);
          else if (queue.remove(queued)) expire(id);
        }
      }
      queue.serve(nowMs, ({ ceiling, queued }) => {
        const verdict = dispatch(queued.item.id, ceiling);
        if (verdict === "gone") queue.take(queued);
        return verdict;
      });
    },
  };
}
