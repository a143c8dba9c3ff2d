import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import { deferredMax } from "#shared/overload/level-switches.ts";
import type { CellOverload } from "./cell-overload.ts";
import type { CellParts } from "./policies/catalogue.ts";
import type { SimCell } from "./sim-cell.ts";
import type { SimDemand } from "./sim-demand.ts";
import type { SimTries } from "./sim-tries.ts";
import { standingOf } from "./sim-turn.ts";
import type { SimTurn } from "./sim-turn.ts";
import type { Screened, WaitingRoom } from "./waiting-room.ts";

/** The turns of a replay before they are on a shard: what a cell's overload control and scheduler do with them, in virtual time. */
export interface SimTurns {
  arrive(turn: SimTurn, nowMs: number): void;
  /** A turn that was let in wants a shard, or another one. */
  offer(turn: SimTurn, nowMs: number): void;
  /** A retry's delay is over. */
  retry(id: number, nowMs: number): void;
  /** A turn has ended. */
  forget(turn: SimTurn): void;
  /** Those that wait are served. */
  serve(nowMs: number): void;
  /** Batch that was kept back is let go, or told to come back; ten times a second. */
  tick(nowMs: number): void;
}

export interface SimTurnsOptions {
  readonly cell: SimCell;
  readonly demand: SimDemand;
  /** Where turns for a model wait. */
  readonly roomOf: (model: string) => WaitingRoom;
  readonly rooms: readonly WaitingRoom[];
  readonly overload: CellOverload;
  readonly tries: () => SimTries;
  /** Whether it is a whole cell: with classes, a queue, and these parts. */
  readonly isWhole: boolean;
  readonly parts: CellParts;
  /** `refused` by the level, `shed` by the queue; `failed`: no shard, and nowhere to wait. */
  readonly ended: (turn: SimTurn, how: "refused" | "shed" | "failed", nowMs: number) => void;
}

/** A client's patience in the queue, ms: the time to first token that the batch class is promised. */
const patienceMs = 30_000;

/** Makes the turns of a replay that has not begun. */
export function createSimTurns(options: SimTurnsOptions): SimTurns {
  const { cell, demand, ended, isWhole, overload, parts, roomOf, rooms, tries } = options;
  const turns = new Map<number, SimTurn>();
  /** Batch that is kept back, since when; oldest first. */
  const deferred = new Map<SimTurn, number>();

  function screenedOf(turn: SimTurn): Screened {
    return {
      tenant: `${turn.arrival.tenant}`,
      priority: turn.arrival.priority,
      isLaterTurn: demand.isLater(turn),
      costTokens: cell.workOf(demand.of(turn, Infinity), turn.chunks),
    };
  }

  function userOf({ arrival, id }: SimTurn): string {
    const { session } = arrival.request;
    return `${session < 0 ? id : session}`;
  }

  function enter(turn: SimTurn, nowMs: number): void {
    if (!isWhole) return ended(turn, "failed", nowMs);
    const queued = {
      ...screenedOf(turn),
      ...standingOf(turn),
      deadlineMs: nowMs + patienceMs,
    };
    const isIn = roomOf(turn.model).enter(turn.id, queued, nowMs, (other) => expire(other, nowMs));
    if (!isIn) ended(turn, "shed", nowMs);
  }

  function expire(id: number, nowMs: number): void {
    const turn = turns.get(id);
    if (turn !== undefined) ended(turn, "shed", nowMs);
  }

  /** Dispatches a turn, or lets it wait behind those who do; new work is counted first, and refused where it is to be shed. */
  function schedule(turn: SimTurn, nowMs: number): void {
    const isArrival = isWhole && turn.excluded.length === 0 && !turn.isBegun;
    if (isArrival && !roomOf(turn.model).screen(screenedOf(turn), userOf(turn), nowMs))
      return ended(turn, "shed", nowMs);
    const standing = standingOf(turn);
    const room = roomOf(turn.model);
    const ceiling = isWhole ? room.ceilingOf(standing) : Infinity;
    const verdict = room.isFirst(standing) ? tries().dispatch(turn, ceiling, nowMs) : "blocked";
    if (verdict !== "gone") enter(turn, nowMs);
  }

  function offer(turn: SimTurn, nowMs: number): void {
    const isBatch = isWhole && parts.hasLevels && turn.arrival.priority === "batch";
    if (!isBatch || (deferred.size === 0 && !overload.holdsBatch(nowMs)))
      return schedule(turn, nowMs);
    if (deferred.size >= deferredMax) return ended(turn, "shed", nowMs);
    deferred.set(turn, nowMs);
  }

  function isLetIn(turn: SimTurn, nowMs: number): boolean {
    if (!isWhole || !parts.hasLevels || overload.level() < 2) return true;
    const arrival = screenedOf(turn);
    const { costTokens: workTokens, isLaterTurn, priority, tenant } = arrival;
    const isWithinShare = roomOf(turn.model).isWithinShare(tenant, priority, nowMs);
    if (
      overload.letIn(turn, { isLaterTurn, isWithinShare, workTokens, hasHome: isLaterTurn }, nowMs)
    )
      return true;
    roomOf(turn.model).turnedAway(arrival, userOf(turn), nowMs);
    return false;
  }

  return {
    arrive(turn, nowMs) {
      if (isWhole) overload.came(turn);
      if (!isLetIn(turn, nowMs)) return ended(turn, "refused", nowMs);
      turns.set(turn.id, turn);
      offer(turn, nowMs);
    },
    offer,
    retry(id, nowMs) {
      const turn = turns.get(id);
      if (turn !== undefined) offer(turn, nowMs);
    },
    forget: ({ id }) => void turns.delete(id),
    serve(nowMs) {
      for (const room of rooms)
        room.serve(nowMs, {
          expire: (id) => expire(id, nowMs),
          dispatch(id, ceiling) {
            const turn = turns.get(id);
            return turn === undefined ? "gone" : tries().dispatch(turn, ceiling, nowMs);
          },
        });
    },
    tick(nowMs) {
      for (const [turn, sinceMs] of deferred) {
        const isOver = nowMs >= sinceMs + defaultQueuePolicy.waitMsMax.batch;
        if (!isOver && overload.holdsBatch(nowMs)) break;
        deferred.delete(turn);
        overload.deferred(nowMs - sinceMs);
        if (isOver) ended(turn, "shed", nowMs);
        else schedule(turn, nowMs);
      }
    },
  };
}
