import { hash32, Random } from "./random.ts";
import type { Process } from "./process.ts";

/** An event that will happen unless it is cancelled or its process has died. */
export interface Scheduled {
  readonly atMs: number;
  readonly tie: number;
  readonly order: number;
  readonly process: Process | null;
  readonly kind: string;
  run: (() => void) | null;
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs;
  return a.tie === b.tie ? a.order < b.order : a.tie < b.tie;
}

/** One hop of the event loop: every promise that an event has settled is followed up before the next event. */
function hop(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * The world's time: a heap of events by time, ties broken by the generator. Nothing in the world reads another clock or
 * another random source, so that one seed is one history.
 */
export class Kernel {
  readonly seed: number;
  readonly #heap: Scheduled[] = [];
  readonly #streams = new Map<string, Random>();
  readonly #ties: Random;
  #order = 0;
  #hash = 0x811c9dc5;
  nowMs = 1_700_000_000_000;
  events = 0;
  /** Called with each line of the event log; null: only hashed. */
  onLog: ((line: string) => void) | null = null;

  constructor(seed: number) {
    this.seed = seed;
    this.#ties = new Random(seed, "ties");
  }

  /** The subsystem's own generator. */
  random(stream: string): Random {
    let found = this.#streams.get(stream);
    if (found === undefined) {
      found = new Random(this.seed, stream);
      this.#streams.set(stream, found);
    }
    return found;
  }

  /** Hash of (time, node, event, payload) of all that was logged. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }

  log(node: string, event: string, payload = ""): void {
    const line = `${this.nowMs.toFixed(3)} ${node} ${event} ${payload}`;
    this.#hash = hash32(line, this.#hash);
    this.onLog?.(line);
  }

  /** Runs `run` after `delayMs` of true time, unless `process` is dead by then. */
  at(delayMs: number, process: Process | null, kind: string, run: () => void): Scheduled {
    const event: Scheduled = {
      atMs: this.nowMs + Math.max(0, delayMs),
      tie: this.#ties.next(),
      order: (this.#order += 1),
      process,
      kind,
      run,
    };
    this.#push(event);
    return event;
  }

  /** Resolves after `delayMs`; never for a process that dies before. */
  sleep(delayMs: number, process: Process | null, kind = "sleep"): Promise<void> {
    return new Promise((resolve) => {
      this.at(delayMs, process, kind, resolve);
    });
  }

  /** Runs events until `isDone` says so or none is left; false when `untilMs` or `eventsMax` came first. */
  async run(isDone: () => boolean, untilMs: number, eventsMax: number): Promise<boolean> {
    await hop();
    while (!isDone()) {
      const event = this.#pop();
      if (event === null) return true;
      if (event.run === null) continue;
      if (event.atMs > untilMs || this.events >= eventsMax) {
        this.#push(event);
        return false;
      }
      if (event.process !== null && !event.process.isAlive) continue;
      this.nowMs = event.atMs;
      this.events += 1;
      this.log(event.process?.name ?? "world", event.kind);
      event.run();
      await hop();
    }
    return true;
  }

  #push(event: Scheduled): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Scheduled;
      if (!isBefore(event, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): Scheduled | null {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined) return null;
    if (heap.length === 0) return top;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (
        child + 1 < heap.length &&
        isBefore(heap[child + 1] as Scheduled, heap[child] as Scheduled)
      )
        child += 1;
      if (!isBefore(heap[child] as Scheduled, last)) break;
      heap[index] = heap[child] as Scheduled;
      index = child;
    }
    heap[index] = last;
    return top;
  }
}
