import { invariant } from "../errors/invariant.ts";
import type { Priority } from "../config/topology.ts";

/** What a turn is queued with. */
export interface QueuedTurn {
  readonly tenant: string;
  readonly priority: Priority;
  /** Turn 2 or later of a conversation: its prefix was paid for already. */
  readonly isLaterTurn: boolean;
  /** The client has some of the answer: it goes before all that has not begun, whoever has been served how much. */
  readonly hasBegun?: boolean;
  /** Work, tokens > 0: uncached input + 2 × expected output. */
  readonly costTokens: number;
  readonly deadlineMs: number;
}

/** A turn in a queue. */
export interface Queued<T> {
  readonly turn: QueuedTurn;
  readonly enqueuedAtMs: number;
  /** Order of arrival in its queue. */
  readonly arrival: number;
  readonly item: T;
}

/** How a line is served: by the earliest deadline, or by the newest arrival while an overload lasts. */
export type LineOrder = "deadlineFirst" | "newestFirst";

function compare<T>(left: Queued<T>, right: Queued<T>, order: LineOrder): number {
  const hasBegun = left.turn.hasBegun === true;
  if (hasBegun !== (right.turn.hasBegun === true)) return hasBegun ? -1 : 1;
  if (left.turn.isLaterTurn !== right.turn.isLaterTurn) return left.turn.isLaterTurn ? -1 : 1;
  if (order === "newestFirst") return right.arrival - left.arrival;
  return left.turn.deadlineMs - right.turn.deadlineMs || left.arrival - right.arrival;
}

/**
 * The turns of one tenant in one class, in the order of service: begun answers first, then later turns of conversations, then the earliest
 * deadline (or the newest arrival). Adding and removing is O(log n) comparisons and one shift.
 */
export class TenantLine<T> {
  readonly tenant: string;
  /** Tokens that the tenant may still be served in this round. */
  deficitTokens: number;
  #workTokens = 0;
  #order: LineOrder;
  readonly #turns: Queued<T>[] = [];

  constructor(tenant: string, deficitTokens: number, order: LineOrder) {
    this.tenant = tenant;
    this.deficitTokens = deficitTokens;
    this.#order = order;
  }

  get workTokens(): number {
    return this.#workTokens;
  }

  get length(): number {
    return this.#turns.length;
  }

  head(): Queued<T> {
    const [head] = this.#turns;
    invariant(head !== undefined, "a line in a queue holds a turn");
    return head;
  }

  /** The one that would be served last. */
  last(): Queued<T> {
    const last = this.#turns.at(-1);
    invariant(last !== undefined, "a line in a queue holds a turn");
    return last;
  }

  add(queued: Queued<T>): void {
    this.#turns.splice(this.#positionOf(queued), 0, queued);
    this.#workTokens += queued.turn.costTokens;
  }

  remove(queued: Queued<T>): boolean {
    const position = this.#positionOf(queued);
    if (this.#turns[position] !== queued) return false;
    this.#turns.splice(position, 1);
    this.#workTokens -= queued.turn.costTokens;
    return true;
  }

  setOrder(order: LineOrder): void {
    if (order === this.#order) return;
    this.#order = order;
    this.#turns.sort((left, right) => compare(left, right, order));
  }

  #positionOf(queued: Queued<T>): number {
    let [low, high] = [0, this.#turns.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#turns[middle];
      if (other !== undefined && compare(other, queued, this.#order) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
