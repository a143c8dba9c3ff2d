import * as z from "zod";

/** Longest delay and lag that a fault may ask for, in ms: ten minutes, the longest outage a test of hints needs. */
const faultMsMax = 600_000;

const region = z.string().optional();
const durationMs = z.int().min(0).max(faultMsMax);
const lieValue = z.union([z.string(), z.null(), z.record(z.string(), z.string())]);

/**
 * One fault. `freeze`, `lag` and `lose-writes` act on replication: with a region on that replica only, without one on all
 * (`lose-writes` without a region loses the write at the primary). The others act on the answers: with a region on those to
 * its base URL, without one on every answer. A lie's `key` is a glob; its `value` is a string, a hash, or null for missing.
 */
export const faultSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("freeze"), region }),
  z.strictObject({ kind: z.literal("lag"), lagMs: durationMs, region }),
  z.strictObject({ kind: z.literal("lose-writes"), probability: z.number().min(0).max(1), region }),
  z.strictObject({ kind: z.literal("delay"), delayMs: durationMs, region }),
  z.strictObject({ kind: z.literal("dead"), region }),
  z.strictObject({ kind: z.literal("status"), status: z.int().min(400).max(599), region }),
  z.strictObject({ kind: z.literal("garbage"), region }),
  z.strictObject({ kind: z.literal("html"), region }),
  z.strictObject({ kind: z.literal("empty"), region }),
  z.strictObject({ kind: z.literal("lie"), key: z.string(), value: lieValue, region }),
]);

export type Fault = z.infer<typeof faultSchema>;
export type FaultKind = Fault["kind"];
type FaultOf<K extends FaultKind> = Extract<Fault, { kind: K }>;

/** Every kind of fault, in the order of the schema. */
export const faultKinds: readonly FaultKind[] = faultSchema.options.map(
  (option) => option.shape.kind.value,
);

/** Most faults at once; each lie has its own key, everything else one entry per kind and region. */
const faultsMax = 256;

/** The faults in force. The newest of one kind, region and key replaces the older one. */
export class FaultBoard {
  #faults: readonly Fault[] = [];

  list(): readonly Fault[] {
    return this.#faults;
  }

  /** Puts a fault in force; false when there are too many already. */
  add(fault: Fault): boolean {
    const others = this.#faults.filter((other) => slotOf(other) !== slotOf(fault));
    if (others.length >= faultsMax) return false;
    this.#faults = [...others, fault];
    return true;
  }

  /** Ends the faults of the kind and region given; either one left out means any. */
  clear(which: { readonly kind?: string | undefined; readonly region?: string | undefined }): void {
    this.#faults = this.#faults.filter(
      (fault) =>
        (which.kind !== undefined && fault.kind !== which.kind) ||
        (which.region !== undefined && fault.region !== which.region),
    );
  }

  /** The fault of a kind for a region: one that names the region before one for all. Without a region only one for all. */
  find<K extends FaultKind>(kind: K, regionName: string | undefined): FaultOf<K> | undefined {
    return this.#applying(kind, regionName)[0];
  }

  /** The lies told in a region, those that name it first. */
  lies(regionName: string | undefined): readonly FaultOf<"lie">[] {
    return this.#applying("lie", regionName);
  }

  /** The share of writes lost: at the primary without a region, else those lost on the way to that region only. */
  lossOf(regionName: string | undefined): number {
    const lost = this.#faults.find(
      (fault): fault is FaultOf<"lose-writes"> =>
        fault.kind === "lose-writes" && fault.region === regionName,
    );
    return lost?.probability ?? 0;
  }

  #applying<K extends FaultKind>(kind: K, regionName: string | undefined): FaultOf<K>[] {
    const ofKind = this.#faults.filter((fault): fault is FaultOf<K> => fault.kind === kind);
    const named =
      regionName === undefined ? [] : ofKind.filter((fault) => fault.region === regionName);
    return [...named, ...ofKind.filter((fault) => fault.region === undefined)];
  }
}

function slotOf(fault: Fault): string {
  return JSON.stringify([fault.kind, fault.region, fault.kind === "lie" ? fault.key : null]);
}
