/** Order of service: lower priority number first, then order of arrival, as vLLM's priority scheduling. */
export interface Ranked {
  readonly priority: number;
  readonly order: number;
}

/** Whether `a` is served before `b`. */
export function isBefore(a: Ranked, b: Ranked): boolean {
  return a.priority === b.priority ? a.order < b.order : a.priority < b.priority;
}

/** Binary heap of waiting sequences: push and take cost O(log n). Removal is the caller's mark, skipped at the head. */
export interface WaitingQueue<T extends Ranked> {
  push(item: T): void;
  /** The next live item without taking it. */
  peek(): T | undefined;
  take(): T | undefined;
}

/** Makes an empty queue; `isLive` says whether an item still waits, so that an abort need not search. */
export function createWaitingQueue<T extends Ranked>(
  isLive: (item: T) => boolean,
): WaitingQueue<T> {
  const heap: T[] = [];
  function swap(a: number, b: number): void {
    const first = heap[a];
    const second = heap[b];
    if (first === undefined || second === undefined) return;
    heap[a] = second;
    heap[b] = first;
  }
  function before(a: number, b: number): boolean {
    const first = heap[a];
    const second = heap[b];
    return first !== undefined && second !== undefined && isBefore(first, second);
  }
  function pop(): void {
    swap(0, heap.length - 1);
    heap.pop();
    let at = 0;
    for (;;) {
      let least = at;
      if (before(2 * at + 1, least)) least = 2 * at + 1;
      if (before(2 * at + 2, least)) least = 2 * at + 2;
      if (least === at) return;
      swap(at, least);
      at = least;
    }
  }
  function peek(): T | undefined {
    for (;;) {
      const head = heap[0];
      if (head === undefined || isLive(head)) return head;
      pop();
    }
  }
  return {
    peek,
    push(item) {
      heap.push(item);
      let at = heap.length - 1;
      while (at > 0 && before(at, (at - 1) >> 1)) {
        swap(at, (at - 1) >> 1);
        at = (at - 1) >> 1;
      }
    },
    take() {
      const head = peek();
      if (head !== undefined) pop();
      return head;
    },
  };
}
