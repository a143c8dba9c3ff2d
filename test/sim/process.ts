import type { Kernel } from "./kernel.ts";

/** How a node's clock is wrong. */
export interface ClockError {
  /** Ms ahead of the true time; negative: behind. */
  readonly skewMs: number;
  /** Ms gained per ms. */
  readonly drift: number;
}

/** One life of a node. It dies once; a restart is another process with the same name. */
export class Process {
  readonly name: string;
  /** Jurisdiction that the node is in. */
  readonly zone: string;
  readonly startedAtMs: number;
  readonly #kernel: Kernel;
  readonly #clock: ClockError;
  readonly #mourners = new Set<() => void>();
  isAlive = true;

  constructor(kernel: Kernel, name: string, zone: string, clock: ClockError) {
    this.#kernel = kernel;
    this.name = name;
    this.zone = zone;
    this.#clock = clock;
    this.startedAtMs = kernel.nowMs;
  }

  /** Ms since the epoch as this node believes; whole, as `Date.now()` is. */
  now(): number {
    const { nowMs } = this.#kernel;
    return Math.floor(nowMs + this.#clock.skewMs + (nowMs - 1_700_000_000_000) * this.#clock.drift);
  }

  kill(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#kernel.log(this.name, "died");
    for (const mourn of this.#mourners) mourn();
    this.#mourners.clear();
  }

  /** Calls `mourn` when the process dies; the returned function takes that back. */
  onDeath(mourn: () => void): () => void {
    this.#mourners.add(mourn);
    return () => this.#mourners.delete(mourn);
  }
}
