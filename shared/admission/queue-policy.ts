import type { Priority } from "../config/topology.ts";
import { defaultCeilingPolicy } from "./class-ceiling.ts";
import type { CeilingPolicy } from "./class-ceiling.ts";
import type { FairSharePolicy } from "./class-queue.ts";

/** Bounds and order of the queue in front of a cell's shards. */
export interface QueuePolicy {
  /** Turns that may wait for one model. */
  readonly waitingPerModelMax: number;
  /** Turns that may wait in the cell. */
  readonly waitingMax: number;
  /** How long a turn of each class may wait, ms. */
  readonly waitMsMax: Readonly<Record<Priority, number>>;
  readonly ceiling: CeilingPolicy;
  readonly share: FairSharePolicy;
}

/**
 * Starting values of our own. Times: a person leaves after a few seconds, batch has nothing to wait for elsewhere. Lengths:
 * what 64 shards of 64 slots drain within these times at a second per answer. Quantum: a long prompt, so that most tenants
 * are served once a round; half-life: about one busy minute is remembered.
 */
export const defaultQueuePolicy: QueuePolicy = {
  waitingPerModelMax: 1_024,
  waitingMax: 4_096,
  waitMsMax: { critical: 4_000, interactive: 3_000, standard: 8_000, batch: 30_000 },
  ceiling: defaultCeilingPolicy,
  share: { quantumTokens: 8_192, attainedHalfLifeMs: 60_000, tenantsMax: 10_000 },
};
