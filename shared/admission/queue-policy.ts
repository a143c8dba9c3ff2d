import type { Priority } from "../config/topology.ts";

/** Bounds of the queue in front of a cell's shards. */
export interface QueuePolicy {
  /** Turns that may wait for one model. */
  readonly waitingPerModelMax: number;
  /** Turns that may wait in the cell. */
  readonly waitingMax: number;
  /** How long a turn of each class may wait, ms. */
  readonly waitMsMax: Readonly<Record<Priority, number>>;
}

/**
 * Times from the routing page, 9 (critical 4 s, interactive 3 s, standard 8 s); batch has nothing to wait for elsewhere yet
 * and waits 30 s. Lengths: what 64 shards of 64 slots drain within these times at a second per answer.
 */
export const defaultQueuePolicy: QueuePolicy = {
  waitingPerModelMax: 1_024,
  waitingMax: 4_096,
  waitMsMax: { critical: 4_000, interactive: 3_000, standard: 8_000, batch: 30_000 },
};
