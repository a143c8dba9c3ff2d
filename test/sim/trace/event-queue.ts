/** What happens at a moment of virtual time; `target` is a request, a try, a canary or a shard by position. */
export interface Happening {
  readonly atMs: number;
  readonly kind:
    | "arrive"
    | "runEnd"
    | "broke"
    | "faultBegins"
    | "faultEnds"
    | "shardReady"
    | "shardLeaves"
    | "look"
    | "retry"
    | "canary"
    | "tick";
  readonly target: number;
}

/** A binary heap of happenings: the earliest first, equals in order of insertion. */
export interface EventQueue {
  push(atMs: number, kind: Happening["kind"], target: number): void;
  pop(): Happening | undefined;
}

interface Entry extends Happening {
  readonly order: number;
}

function isEarlier(left: Entry, right: Entry): boolean {
  return left.atMs === right.atMs ? left.order < right.order : left.atMs < right.atMs;
}

/** Makes an empty queue. Push and pop are O(log n). */
export function createEventQueue(): EventQueue {
  const heap: Entry[] = [];
  let order = 0;
  return {
    push(atMs, kind, target) {
      order += 1;
      const entry: Entry = { atMs, kind, target, order };
      let at = heap.length;
      heap.push(entry);
      while (at > 0) {
        const parent = (at - 1) >> 1;
        const above = heap[parent];
        if (above === undefined || !isEarlier(entry, above)) break;
        heap[at] = above;
        at = parent;
      }
      heap[at] = entry;
    },
    pop() {
      const head = heap[0];
      const last = heap.pop();
      if (head === undefined || last === undefined || heap.length === 0) return head;
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        const left = heap[child];
        if (left === undefined) break;
        const right = heap[child + 1];
        if (right !== undefined && isEarlier(right, left)) child += 1;
        const next = heap[child];
        if (next === undefined || !isEarlier(next, last)) break;
        heap[at] = next;
        at = child;
      }
      heap[at] = last;
      return head;
    },
  };
}
