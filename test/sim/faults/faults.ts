import type { Kernel } from "../kernel.ts";
import { scheduledFaults, siteFaults } from "./catalogue.ts";
import type { FaultKind } from "./catalogue.ts";
import type { Profile } from "./profiles.ts";

/** Which faults this run has, how often they happen, and how often they did. */
export class Faults {
  readonly #kernel: Kernel;
  readonly #rates = new Map<FaultKind, number>();
  readonly #partitions = new Map<string, number>();
  readonly counts = new Map<string, number>();
  /** No fault happens any more. */
  isHealed = false;

  constructor(kernel: Kernel, profile: Profile) {
    this.#kernel = kernel;
    for (const [kind, base] of Object.entries({ ...siteFaults, ...scheduledFaults })) {
      const rate = profile.rate(kind as FaultKind, base, kernel.random(`swarm.${kind}`));
      if (rate > 0) this.#rates.set(kind as FaultKind, rate);
    }
  }

  /** Whether the fault happens here and now. */
  fires(kind: FaultKind): boolean {
    const rate = this.#rates.get(kind);
    if (rate === undefined || this.isHealed) return false;
    if (!this.#kernel.random(`fault.${kind}`).chance(rate)) return false;
    this.#count(kind);
    return true;
  }

  /** Whether the run has the fault at all. */
  has(kind: FaultKind): boolean {
    return this.#rates.has(kind) && !this.isHealed;
  }

  /** Whether a lost message is noticed at once, by a reset; else only by its timeout. */
  loses(): boolean {
    return this.#kernel.random("fault.reset").chance(0.6);
  }

  /** Cuts the way from one node to another for a while; symmetric or not. */
  partition(from: string, to: string, untilMs: number, isSymmetric: boolean): void {
    this.#partitions.set(`${from}>${to}`, untilMs);
    if (isSymmetric) this.#partitions.set(`${to}>${from}`, untilMs);
  }

  isPartitioned(from: string, to: string): boolean {
    if (this.isHealed || this.#partitions.size === 0) return false;
    const untilMs = this.#partitions.get(`${from}>${to}`);
    return untilMs !== undefined && untilMs > this.#kernel.nowMs;
  }

  #count(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.#kernel.log("fault", kind);
  }
}
