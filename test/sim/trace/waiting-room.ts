import { ModelAdmission } from "#shared/admission/model-admission.ts";
import type { RunningWork } from "#shared/admission/model-admission.ts";
import type { DispatchVerdict, TurnStanding } from "#shared/admission/model-queue.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import type { Queued, QueuedTurn } from "#shared/admission/tenant-line.ts";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import { keepsRoomAbove } from "#shared/overload/level-switches.ts";
import { queueDelayOf } from "#shared/overload/queue-delay.ts";

/** What of an arrival decides whether it is shed. */
export type Screened = Pick<QueuedTurn, "tenant" | "priority" | "isLaterTurn" | "costTokens">;

/** Requests that no shard may take now, admitted, ordered and shed as in the product. */
export interface WaitingRoom {
  size(): number;
  /** Whether a request may be tried before anybody who waits. */
  isFirst(turn: TurnStanding): boolean;
  /** Longest wait now over what its class is promised, as degradation levels count it. */
  queueDelay(nowMs: number): number;
  /** Whether others of the class, who ask for more than their share, are to give way before the tenant. */
  isWithinShare(tenant: string, priority: Priority, nowMs: number): boolean;
  /** Counts an arrival that was refused before it came here. */
  turnedAway(arrival: Screened, user: string, nowMs: number): void;
  /** Saturation from which on a shard is full for it now. */
  ceilingOf(turn: TurnStanding): number;
  /** Counts an arrival; false: it is in the share that is shed. */
  screen(arrival: Screened, user: string, nowMs: number): boolean;
  /** Lets a request wait; false: there is no room. `shed` is told of who gives its place to it. */
  enter(id: number, turn: QueuedTurn, nowMs: number, shed: (id: number) => void): boolean;
  /** Counts work that was begun for a tenant; give what is returned to `ended`. */
  began(
    service: {
      readonly tenant: string;
      readonly priority: Priority;
      readonly workTokens: number;
      readonly predictedMs: number;
    },
    nowMs: number,
  ): RunningWork;
  ended(running: RunningWork, isAnswered: boolean, nowMs: number): void;
  /** Takes out who waited too long or is dropped, then offers the others in the order of service. */
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

/** How often the queue takes note of the time at most, ms; the product does ten times a second. */
const tickMs = 100;

/** Makes an empty room with the product's bounds. `freeSlots`: of all shards; `level`: of the cell. */
export function createWaitingRoom(
  random: () => number,
  freeSlots: () => number,
  level: () => DegradationLevel,
): WaitingRoom {
  const admission = new ModelAdmission<Waiter>(defaultQueuePolicy);
  const { queue } = admission;
  /** When somebody's time is up next; nobody is looked for before. */
  let nextExpiryMs = Infinity;
  let tickedAtMs = -Infinity;

  /** Those that the queue drops. */
  function note(nowMs: number): readonly Queued<Waiter>[] {
    if (nowMs - tickedAtMs < tickMs) return [];
    tickedAtMs = nowMs;
    return admission.tick(nowMs, freeSlots, keepsRoomAbove(level()));
  }

  return {
    size: () => queue.length,
    isFirst: (turn) => queue.isFirst(turn),
    queueDelay: (nowMs) =>
      queueDelayOf(
        priorities.flatMap((priority) => {
          const oldest = queue.of(priority).oldest();
          return oldest === null ? [] : [{ priority, sinceMs: oldest.enqueuedAtMs }];
        }),
        nowMs,
      ),
    isWithinShare: (tenant, priority, nowMs) => admission.isWithinShare(tenant, priority, nowMs),
    turnedAway: (arrival, user, nowMs) =>
      admission.turnedAway({ ...arrival, user }, arrival.costTokens, nowMs),
    ceilingOf: (turn) => queue.ceilingOf(turn),
    screen(arrival, user, nowMs) {
      // While somebody waits the time is noted where those are offered.
      if (queue.length === 0) note(nowMs);
      return admission.screen({ ...arrival, user }, arrival.costTokens, nowMs, random) === null;
    },
    began: (service, nowMs) => admission.began(service, nowMs),
    ended: (running, isAnswered, nowMs) => admission.ended(running, isAnswered, nowMs),
    enter(id, turn, nowMs, shed) {
      // Deadlines of the traces are patience for the first token; no end is foreseen from them.
      const context = { waitingInCell: queue.length, isRoom: false, predict: () => null };
      const { decision, evicted } = admission.admit(turn, context, nowMs);
      if (decision.kind === "refuse") return false;
      if (evicted !== null && queue.remove(evicted)) shed(evicted.item.id);
      admission.add(turn, { id, expiresAtMs: decision.expiresAtMs }, nowMs);
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
      for (const { item } of note(nowMs)) expire(item.id);
      queue.serve(nowMs, ({ ceiling, queued }) => {
        const verdict = dispatch(queued.item.id, ceiling);
        if (verdict === "gone") queue.take(queued);
        return verdict;
      });
    },
  };
}
