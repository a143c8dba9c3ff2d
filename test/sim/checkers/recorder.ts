import type { Kernel } from "../kernel.ts";
import type { Process } from "../process.ts";

/** A broken invariant (reliability.md, 3). */
export interface Violation {
  readonly invariant: string;
  readonly atMs: number;
  readonly detail: string;
}

/** Text that marks whatever was made for a jurisdiction; everything that clients write and shards say has one. */
export function canaryOf(zone: string): string {
  return `<${zone}>`;
}

/** What the run has seen. The first violation ends it. */
export class Recorder {
  readonly #kernel: Kernel;
  readonly violations: Violation[] = [];
  /** How often each `sometimes` point was reached. */
  readonly points = new Map<string, number>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  violate(invariant: string, detail: string): void {
    this.violations.push({ invariant, atMs: this.#kernel.nowMs, detail });
    this.#kernel.log("checker", invariant, detail);
  }

  /** Holds, or is a violation. */
  expect(condition: boolean, invariant: string, detail: () => string): void {
    if (!condition) this.violate(invariant, detail());
  }

  /** A point that the runs of a profile must reach, or they show less than they seem to. */
  sometimes(name: string, condition = true): void {
    if (condition) this.points.set(name, (this.points.get(name) ?? 0) + 1);
  }

  /** A message that leaves its zone. I-01: nothing of a jurisdiction does. */
  border(from: Process, toName: string, toZone: string, content: string): void {
    const isTainted = content.includes(canaryOf(from.zone));
    this.expect(!isTainted, "I-01", () => `${from.name} sent content to ${toName} in ${toZone}`);
  }
}
