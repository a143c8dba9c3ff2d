import type { Priority } from "../config/topology.ts";
import { defaultSelectionPolicy } from "../routing/selection-policy.ts";
import { defaultCeilingPolicy } from "./class-ceiling.ts";
import type { CeilingPolicy } from "./class-ceiling.ts";
import type { FairSharePolicy } from "./class-queue.ts";
import type { CodelPolicy } from "./codel.ts";
import type { LongQueuePolicy } from "./long-queue.ts";
import { defaultShedRatioPolicy } from "./shed-ratio.ts";
import type { ShedRatioPolicy } from "./shed-ratio.ts";

/** Bounds and order of the queue in front of a cell's shards. */
export interface QueuePolicy {
  /** Turns that may wait for one model. */
  readonly waitingPerModelMax: number;
  /** Turns that may wait in the cell. */
  readonly waitingMax: number;
  /** How long a turn of each class may wait, ms. */
  readonly waitMsMax: Readonly<Record<Priority, number>>;
  /** How long a turn may wait for the first shard of its model to come up, where no other cell has one, ms. */
  readonly roomMsMax: number;
  /** Time to first token that each class is promised, seconds. */
  readonly ttftSloSeconds: Readonly<Record<Priority, number>>;
  /** Deadlines further away than this are not foreseen, ms. */
  readonly foresightMsMax: number;
  readonly ceiling: CeilingPolicy;
  readonly share: FairSharePolicy;
  readonly longQueue: LongQueuePolicy;
  readonly codel: CodelPolicy;
  readonly shedRatio: ShedRatioPolicy;
}

/**
 * Starting values of our own. Times: a person leaves after a few seconds, batch has nothing to wait for elsewhere; a shard
 * restored from a snapshot is there within the room's 20 s. Lengths: what 64 shards of 64 slots drain within these times at a
 * second per answer. Quantum: a long prompt, so that most tenants are served once a round, and of small turns two; half-life: about one busy minute is
 * remembered.
 */
export const defaultQueuePolicy: QueuePolicy = {
  waitingPerModelMax: 1_024,
  waitingMax: 4_096,
  waitMsMax: { critical: 4_000, interactive: 3_000, standard: 8_000, batch: 30_000 },
  roomMsMax: 20_000,
  ttftSloSeconds: defaultSelectionPolicy.ttftSloSeconds,
  foresightMsMax: 300_000,
  ceiling: defaultCeilingPolicy,
  share: { quantumTokens: 8_192, quantumTurns: 2, attainedHalfLifeMs: 60_000, tenantsMax: 10_000 },
  longQueue: { delayShare: 0.5, heldMs: 5_000 },
  codel: { targetShare: 0.3, intervalMs: 1_000 },
  shedRatio: defaultShedRatioPolicy,
};
