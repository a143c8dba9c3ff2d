import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import { createAttainedService } from "./attained-service.ts";
import type { AttainedService } from "./attained-service.ts";
import { classCeiling } from "./class-ceiling.ts";
import { ClassQueue } from "./class-queue.ts";
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

/** Tries to dispatch that one pass makes at most; the rest is asked at the next one. */
const triesPerPassMax = 64;

/**
 * The turns that wait for one model: a queue per class, the more important first, fair among tenants inside
 * (class-queue.ts). It holds no clock and answers nobody: its owner dispatches and replies.
 */
export class ModelQueue<T> {
  readonly #classes: Readonly<Record<Priority, ClassQueue<T>>>;
  readonly #attained: AttainedService;
  readonly #policy: QueuePolicy;
  #arrivals = 0;
  #isOverloaded = false;

  constructor(policy: QueuePolicy) {
    const attained = createAttainedService(
      policy.share.attainedHalfLifeMs,
      policy.share.tenantsMax,
    );
    const make = (): ClassQueue<T> => new ClassQueue<T>(attained, policy.share);
    this.#classes = { critical: make(), interactive: make(), standard: make(), batch: make() };
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

  /** How full a shard may be for a turn of `priority`. */
  ceilingOf(priority: Priority): number {
    const above = priorities.slice(0, priorities.indexOf(priority));
    const isAboveWaiting = above.some((other) => this.#classes[other].length > 0);
    const input = { isAboveWaiting, isOverloaded: this.#isOverloaded };
    return classCeiling(priority, input, this.#policy.ceiling);
  }

  /** Whether a turn of `priority` that comes now has nobody to wait behind. */
  isFirst(priority: Priority): boolean {
    return priorities
      .slice(0, priorities.indexOf(priority) + 1)
      .every((other) => this.#classes[other].length === 0);
  }

  /**
   * Offers turns in the order of service to `dispatch`, class by class, until there is no room or nobody waits. `dispatch`
   * must take out what it dispatched or answered.
   */
  serve(nowMs: number, dispatch: (next: NextTurn<T>) => DispatchVerdict): void {
    let tries = 0;
    for (const priority of priorities) {
      const queue = this.#classes[priority];
      const passed = new Set<string>();
      for (;;) {
        const queued = queue.next(nowMs, passed);
        if (queued === null) break;
        tries += 1;
        if (tries > triesPerPassMax) return;
        const verdict = dispatch({ queued, ceiling: this.ceilingOf(priority) });
        if (verdict === "full") return;
        if (verdict === "blocked") passed.add(queued.turn.tenant);
      }
    }
  }

  /** Work that is served before a further turn, tokens. */
  workBefore({ costTokens, priority, tenant }: QueuedTurn): number {
    let sum = this.#classes[priority].workBefore(tenant, costTokens);
    for (const other of priorities.slice(0, priorities.indexOf(priority))) {
      sum += this.#classes[other].workTokens;
    }
    return sum;
  }

  /**
   * The waiting turn that gives its place to `turn` when the queue is full: of the least important class that waits, of its
   * tenant with most work, the last in line. Null where that would be `turn` itself: nobody has less right to the place.
   */
  victimFor(turn: QueuedTurn): Queued<T> | null {
    const own = priorities.indexOf(turn.priority);
    for (let index = priorities.length - 1; index >= own; index -= 1) {
      const priority = priorities[index];
      const queue = priority === undefined ? null : this.#classes[priority];
      const victim = queue?.mostExpendable() ?? null;
      if (queue === null || victim === null) continue;
      if (index > own) return victim;
      const after = queue.workOfTenant(turn.tenant) + turn.costTokens;
      return queue.workOfTenant(victim.turn.tenant) > after ? victim : null;
    }
    return null;
  }

  all(): readonly Queued<T>[] {
    return priorities.flatMap((priority) => this.#classes[priority].all());
  }
}
