import type { Priority, ShardDescription } from "../config/topology.ts";
import type { CellHint } from "../health/hint.ts";
import type { FilledTarget } from "./water-fill.ts";

/** Numbers of reading a cell's load from its hint. Starting values of our own, to be tuned by simulation. */
export interface CellLoadPolicy {
  /** Share of capacity by which a load is thought to wander in a second; it grows with the root of the age. */
  readonly wanderPerRootSecond: number;
  /** Share of its capacity that a cell is sent each second: answers take about 20 s. */
  readonly turnoverPerSecond: number;
  /** Share of its capacity above which a cell is full for a class; those of shards (selection-policy.ts). */
  readonly ceilings: Readonly<Record<Priority, number>>;
  /** Level of degradation from which a cell refuses a class (docs/degradation.md). */
  readonly refusedFromLevel: Readonly<Record<Priority, number>>;
  /** A hint of this age says nothing, ms. */
  readonly hintAgeMsMax: number;
  /** A hint further ahead than this has a wrong clock and says nothing, ms. */
  readonly clockSkewMsMax: number;
}

/** What a cell carries of a model, as far as its last hint and this isolate's own choices tell. */
export interface CellLoad extends FilledTarget {
  /** How old the word of it is, ms; `hintAgeMsMax` where there is none. */
  readonly ageMs: number;
  /** Whether it is believed to refuse the class now. */
  readonly isFull: boolean;
}

/**
 * The load of a cell's shards of a model: in flight and queued by its hint, plus what this isolate sent there since the hint
 * was made. It counts as full when it may be: the older the word, the wider the doubt, `load + wander × √age`. Without a hint
 * that can be believed nothing is known, and the topology's capacity is all there is.
 */
export function cellLoad(
  shards: readonly ShardDescription[],
  hint: CellHint | undefined,
  sentSince: number,
  priority: Priority,
  nowMs: number,
  policy: CellLoadPolicy,
): CellLoad {
  const capacity = shards.reduce((sum, shard) => sum + shard.concurrentRequestsMax, 0);
  const unknown: CellLoad = { load: 0, capacity, ageMs: policy.hintAgeMsMax, isFull: false };
  if (hint === undefined) return unknown;
  const ageMs = nowMs - hint.atMs;
  if (ageMs >= policy.hintAgeMsMax || ageMs < -policy.clockSkewMsMax) return unknown;
  const own = new Set<string>(shards.map(({ id }) => id));
  let inFlight = 0;
  let queued = 0;
  for (const shard of hint.shards) {
    if (!own.has(shard.id)) continue;
    inFlight += shard.inFlight;
    // Every shard tells the queue of its model.
    queued = Math.max(queued, shard.queued);
  }
  // Of what was sent since, as much still runs as answers of that age do.
  const ageSeconds = Math.max(0, ageMs) / 1_000;
  const stillRunning = sentSince / Math.max(1, ageSeconds * policy.turnoverPerSecond);
  const load = inFlight + queued + stillRunning;
  const doubt = policy.wanderPerRootSecond * Math.sqrt(ageSeconds);
  // Doubt alone fills nothing: a cell without load is tried.
  const saturation = load === 0 ? 0 : load / capacity + doubt;
  const isFull =
    saturation >= policy.ceilings[priority] || hint.level >= policy.refusedFromLevel[priority];
  return { load, capacity, ageMs: Math.max(0, ageMs), isFull };
}
