import type { Priority } from "../config/topology.ts";

/** Shares of a shard's saturation that the classes may fill, 0..1. */
export interface CeilingPolicy {
  readonly ceilings: Readonly<Record<Priority, number>>;
  /** What a class may fill while nobody more important waits and the cell keeps its promises. */
  readonly borrowed: Readonly<Record<Priority, number>>;
}

/**
 * Starting values of our own. A class borrows what is kept for the class above it, no more: batch alone on a cell leaves
 * room in which a sudden prompt of a person is answered at once.
 */
export const defaultCeilingPolicy: CeilingPolicy = {
  ceilings: { critical: 1, interactive: 0.9, standard: 0.75, batch: 0.55 },
  borrowed: { critical: 1, interactive: 1, standard: 0.9, batch: 0.75 },
};

/** What is known of a model's queues when a turn is to be dispatched. */
export interface CeilingInput {
  /** Whether a turn of a more important class waits for the model. */
  readonly isAboveWaiting: boolean;
  /** Whether turns have waited too long for a while; then what is kept for those above stays free. */
  readonly isOverloaded: boolean;
}

/**
 * The saturation from which on a shard takes no more of `priority`. A lower class borrows only while the queues above are
 * empty and no overload lasts.
 */
export function classCeiling(
  priority: Priority,
  input: CeilingInput,
  policy: CeilingPolicy,
): number {
  const mayBorrow = !input.isAboveWaiting && !input.isOverloaded;
  return mayBorrow ? policy.borrowed[priority] : policy.ceilings[priority];
}
