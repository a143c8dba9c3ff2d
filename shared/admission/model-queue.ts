import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import { createAttainedService } from "./attained-service.ts";
import type { AttainedService } from "./attained-service.ts";
import { classCeiling } from "./class-ceiling.ts";
import { ClassQueue } from "./class-queue.ts";
import type { Standing } from "./class-queue.ts";
import type { Standings } from "./fair-shares.ts";
import type { QueuePolicy } from "./queue-policy.ts";
import type { Queued, QueuedTurn } from "./tenant-line.ts";

/** A turn that may be dispatched next, and how full its shard may be. */
export interface NextTurn<T> {
  readonly queued: Queued<T>;
  /** Saturation of a shard from which on it is not taken. */
  readonly ceiling: number;
}

/** What became of an attempt to dispatch a turn, for the choice of the one after it. */
export type DispatchVerdict =
  /** It was dispatched, or answered otherwise. */
  | "gone"
  /** No shard has room for its class: nor for a less important one. */
  | "full"
  /** The shards that it may use are full; another turn may use others. */
  | "blocked";

/** Whose turn it is, as far as it decides whom it waits behind. */
export type TurnStanding = Pick<QueuedTurn, "tenant" | "priority" | "hasBegun">;

const nobodyOver: Standings = {
  hasOver: () => false,
  isOver: () => false,
  asksTooMuch: () => false,
};

/**
 * How full a shard may be for work above its tenant's share, whatever its class: a tenth is left for the others' next turn (our
 * choice).
 */
const overCeiling = 0.9;

/** Tries to dispatch that one pass makes at most; the rest is asked at the next one. */
const triesPerPassMax = 64;

function aboveOf(priority: Priority): readonly Priority[] {
  return priorities.slice(0, priorities.indexOf(priority));
}

function belowOf(priority: Priority): readonly Priority[] {
  return priorities.slice(priorities.indexOf(priority) + 1);
}

interface ServicePass {
  readonly priority: Priority;
  readonly standing: Standing;
  readonly nowMs: number;
  /** Of the whole pass. */
  readonly left: { tries: number };
}

/**
 * The turns that wait for one model. Those of tenants within their fair share of the model go first, then those of tenants that
 * were served more than it; each by class, the more important first, fair among tenants inside (class-queue.ts). It holds no clock and answers nobody: its owner dispatches and replies.
 */
export class ModelQueue<T> {
  readonly #classes: Readonly<Record<Priority, ClassQueue<T>>>;
  readonly #attained: AttainedService;
  readonly #policy: QueuePolicy;
  readonly #standings: Standings;
  #arrivals = 0;
  #isOverloaded = false;

  constructor(policy: QueuePolicy, standings: Standings = nobodyOver) {
    const attained = createAttainedService(
      policy.share.attainedHalfLifeMs,
      policy.share.tenantsMax,
    );
    const make = (priority: Priority): ClassQueue<T> =>
      new ClassQueue<T>(attained, policy.share, {
        isOver: (tenant) => standings.isOver(tenant, priority),
        asksTooMuch: (tenant) => standings.asksTooMuch(tenant, priority),
      });
    this.#classes = {
      critical: make("critical"),
      interactive: make("interactive"),
      standard: make("standard"),
      batch: make("batch"),
    };
    this.#standings = standings;
    this.#attained = attained;
    this.#policy = policy;
  }

  get length(): number {
    return priorities.reduce((sum, priority) => sum + this.#classes[priority].length, 0);
  }

  /** Work of all that wait, tokens. */
  get workTokens(): number {
    return priorities.reduce((sum, priority) => sum + this.#classes[priority].workTokens, 0);
  }

  /** While it is, no class borrows what is kept for those above it. */
  setOverloaded(isOverloaded: boolean): void {
    this.#isOverloaded = isOverloaded;
  }

  of(priority: Priority): ClassQueue<T> {
    return this.#classes[priority];
  }

  add(turn: QueuedTurn, item: T, nowMs: number): Queued<T> {
    this.#arrivals += 1;
    const queued = { turn, enqueuedAtMs: nowMs, arrival: this.#arrivals, item };
    this.#classes[turn.priority].add(queued);
    return queued;
  }

  /** False when it has left before. */
  remove(queued: Queued<T>): boolean {
    return this.#classes[queued.turn.priority].remove(queued);
  }

  /** Takes a turn out because it is dispatched. */
  take(queued: Queued<T>): boolean {
    return this.#classes[queued.turn.priority].take(queued);
  }

  /** Counts service that a tenant was given, waiting or not. */
  charge(tenant: string, tokens: number, nowMs: number): void {
    this.#attained.add(tenant, tokens, nowMs);
  }

  /** How full a shard may be for a turn. */
  ceilingOf(turn: TurnStanding): number {
    const isAboveWaiting = aboveOf(turn.priority).some((other) => this.#isAhead(turn, other));
    const input = { isAboveWaiting, isOverloaded: this.#isOverloaded };
    const ceiling = classCeiling(turn.priority, input, this.#policy.ceiling);
    return this.#standingOf(turn) === "over" ? Math.min(overCeiling, ceiling) : ceiling;
  }

  /** Whether a turn that comes now has nobody to wait behind. */
  isFirst(turn: TurnStanding): boolean {
    if (this.#standingOf(turn) === "over" && priorities.some((one) => this.#has(one, "within"))) {
      return false;
    }
    return [...aboveOf(turn.priority), turn.priority].every((other) => !this.#isAhead(turn, other));
  }

  /**
   * Offers turns in the order of service to `dispatch`, until there is no room or nobody waits. `dispatch` must take out what it
   * dispatched or answered.
   */
  serve(nowMs: number, dispatch: (next: NextTurn<T>) => DispatchVerdict): void {
    const left = { tries: triesPerPassMax };
    for (const standing of ["within", "over"] as const) {
      if (standing === "over" && !this.#standings.hasOver()) return;
      for (const priority of priorities) {
        if (!this.#serveClass({ priority, standing, nowMs, left }, dispatch)) return;
      }
    }
  }

  /** Work that is served before a further turn, tokens. */
  workBefore(turn: QueuedTurn): number {
    const { costTokens, priority, tenant } = turn;
    const isOver = this.#standingOf(turn) === "over";
    const countsGreedy = isOver || this.#standings.asksTooMuch(tenant, priority);
    let sum = this.#classes[priority].workBefore(tenant, costTokens);
    for (const other of aboveOf(priority)) {
      const queue = this.#classes[other];
      sum += isOver ? queue.workTokens : queue.workWithin(countsGreedy);
    }
    if (!isOver) return sum;
    for (const other of belowOf(priority)) sum += this.#classes[other].workWithin(true);
    return sum;
  }

  /**
   * The waiting turn that gives its place to `turn` when the queue is full: of a tenant above its share, else of any; of the
   * least important class that waits, of its tenant with most work, the last in line. Null where that would be `turn` itself:
   * nobody has less right to the place.
   */
  victimFor(turn: QueuedTurn): Queued<T> | null {
    const own = this.#standingOf(turn);
    for (const standing of ["over", "within"] as const) {
      if (standing === "over" && !this.#standings.hasOver()) continue;
      const isSame = standing === own;
      const least = isSame ? priorities.indexOf(turn.priority) : 0;
      for (const priority of priorities.slice(least).toReversed()) {
        const queue = this.#classes[priority];
        const victim = queue.mostExpendable(standing);
        if (victim === null) continue;
        if (!isSame || priority !== turn.priority) return victim;
        const after = queue.workOfTenant(turn.tenant) + turn.costTokens;
        return queue.workOfTenant(victim.turn.tenant) > after ? victim : null;
      }
      if (isSame) return null;
    }
    return null;
  }

  all(): readonly Queued<T>[] {
    return priorities.flatMap((priority) => this.#classes[priority].all());
  }

  /** Offers turns of one class and standing; false: there is no room for anybody after them. */
  #serveClass(pass: ServicePass, dispatch: (next: NextTurn<T>) => DispatchVerdict): boolean {
    const { left, nowMs, priority, standing } = pass;
    const queue = this.#classes[priority];
    const passed = new Set<string>();
    for (;;) {
      const queued = queue.next(nowMs, passed, standing);
      if (queued === null) return true;
      left.tries -= 1;
      if (left.tries < 0) return false;
      const verdict = dispatch({ queued, ceiling: this.ceilingOf(queued.turn) });
      if (verdict === "full") return false;
      if (verdict === "blocked") passed.add(queued.turn.tenant);
    }
  }

  #standingOf({ hasBegun, priority, tenant }: TurnStanding): Standing {
    return hasBegun !== true && this.#standings.isOver(tenant, priority) ? "over" : "within";
  }

  #has(priority: Priority, standing: Standing): boolean {
    const queue = this.#classes[priority];
    if (queue.length === 0) return false;
    return this.#standings.hasOver() ? queue.has(standing) : standing === "within";
  }

  /** Whether one of a class waits that stands no worse than the turn. */
  #isAhead(turn: TurnStanding, other: Priority): boolean {
    return this.#standingOf(turn) === "over"
      ? this.#classes[other].length > 0
      : this.#has(other, "within");
  }
}
