import type { Clock } from "#regional/ports/clock.ts";

interface Timer {
  atMs: number;
  readonly everyMs: number | null;
  readonly run: () => void;
}

/** A clock that a test moves; timers fire in order of their time. */
export class HandClock implements Clock {
  #nowMs = 1_000;
  #timers: Timer[] = [];
  nowMs(): number {
    return this.#nowMs;
  }
  after(delayMs: number, run: () => void): () => void {
    return this.#add({ atMs: this.#nowMs + delayMs, everyMs: null, run });
  }
  every(periodMs: number, run: () => void): () => void {
    return this.#add({ atMs: this.#nowMs + periodMs, everyMs: periodMs, run });
  }
  /** Moves on by `byMs`, stopping at each timer that is due. */
  move(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (let due = this.#next(endMs); due !== undefined; due = this.#next(endMs)) {
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      if (due.everyMs === null) this.#timers = this.#timers.filter((timer) => timer !== due);
      else due.atMs += due.everyMs;
      due.run();
    }
    this.#nowMs = endMs;
  }
  pending(): number {
    return this.#timers.length;
  }
  #next(endMs: number): Timer | undefined {
    return this.#timers
      .filter(({ atMs }) => atMs <= endMs)
      .toSorted((one, other) => one.atMs - other.atMs)[0];
  }
  #add(timer: Timer): () => void {
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }
}
