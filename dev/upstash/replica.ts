import type { Command, KeyImage } from "./engine.ts";
import type { FaultBoard } from "./faults.ts";
import { MemoryEngine } from "./memory-engine.ts";

/** What one write did: the new state of its keys, and whether it emptied the database first. */
export interface Change {
  readonly sequence: number;
  readonly writtenAtMs: number;
  readonly isFlush: boolean;
  readonly images: readonly KeyImage[];
}

/** Changes that wait before the older states of a key are folded away; bounds the memory of a frozen replica. */
const pendingChangesMax = 1000;

interface ReplicaOptions {
  readonly region: string;
  readonly lagMs: number;
  readonly faults: FaultBoard;
  readonly nowMs: () => number;
}

/**
 * The copy of the data that one region reads. It has no timer: reads and changes of the faults first take over the changes
 * whose lag has passed, which cannot be told apart from a copy that took them over on time.
 */
export class Replica {
  readonly engine: MemoryEngine;
  readonly #options: ReplicaOptions;
  #pending: Change[] = [];
  #foldAt = pendingChangesMax;
  #sequence = 0;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.engine = new MemoryEngine(options.nowMs);
  }

  /** The sequence number of the last change taken over. */
  get sequence(): number {
    return this.#sequence;
  }

  receive(change: Change): void {
    this.#pending.push(change);
    if (this.#pending.length >= this.#foldAt) {
      this.#pending = foldChanges(this.#pending);
      this.#foldAt = Math.max(pendingChangesMax, 2 * this.#pending.length);
    }
  }

  /** Takes over what is due; nothing while frozen. A lag fault counts for changes that were written before it too. */
  async catchUp(): Promise<void> {
    const { faults, region, nowMs } = this.#options;
    if (faults.find("freeze", region) !== undefined) return;
    const lagMs = faults.find("lag", region)?.lagMs ?? this.#options.lagMs;
    const dueBeforeMs = nowMs() - lagMs;
    // Taken off before the await, so that two reads at once never apply a change twice or out of order.
    const until = this.#pending.findIndex((change) => change.writtenAtMs > dueBeforeMs);
    const due = this.#pending.splice(0, until < 0 ? this.#pending.length : until);
    for (const change of due) {
      this.#sequence = change.sequence;
      if (change.isFlush) void this.engine.execute(flushAll);
      void this.engine.applyImages(change.images);
    }
  }
}

const flushAll: Command = ["FLUSHALL"];

/** The same changes without the states that a later change of the same key overwrites. */
export function foldChanges(changes: readonly Change[]): Change[] {
  const seen = new Set<string>();
  const folded: Change[] = [];
  for (const change of changes.toReversed()) {
    const images = change.images.filter((image) => !seen.has(image.key));
    for (const image of images) seen.add(image.key);
    if (images.length > 0 || change.isFlush) folded.push({ ...change, images });
    if (change.isFlush) break;
  }
  return folded.toReversed();
}
