import type { EngineLoad } from "./engine-load.ts";

/** Reports older than this say nothing of the load: the cell's own counters alone count, ms. */
const freshMs = 5_000;
/** A shard whose reports stopped this long ago is trusted less, and never not at all, ms. */
const lostMs = 30_000;
const lostWeight = 0.3;
/**
 * Share of a shard that what it says of others' work may fill. Below the ceiling of the interactive class (0.9), so that a
 * shard that lies, or counts the dead, is asked last but never lost; what it does then is what counts.
 */
const believedShareMax = 0.85;

/** What a shard does for others than this cell, as far as it said; null: it never said anything. */
export interface ForeignLoad {
  readonly atMs: number;
  readonly inFlight: number;
  readonly kvTokens: number;
}

/** What the cell itself had on the shard while it was asked. */
export interface OwnCounters {
  readonly inFlight: number;
  readonly kvTokens: number;
}

/** What a shard can do. */
export interface ShardCapacity {
  readonly concurrentRequestsMax: number;
  readonly kvTokensMax: number;
}

/**
 * What a report says beyond the cell's own counters, which are exact: never less than nothing, so that no report makes a shard
 * look emptier than the cell knows it to be; and never so much that a report alone closes it. A report without a field keeps
 * what the one before said, while that is fresh.
 */
export function noteLoad(
  before: ForeignLoad | null,
  load: EngineLoad,
  own: OwnCounters,
  capacity: ShardCapacity,
  nowMs: number,
): ForeignLoad {
  const kept = foreignAt(before, nowMs);
  const beyond = (reported: number, known: number, most: number): number =>
    Math.min(most * believedShareMax, Math.max(0, reported - known));
  return {
    atMs: nowMs,
    inFlight:
      load.running === null
        ? kept.inFlight
        : Math.floor(
            beyond(
              load.running + (load.waiting ?? 0),
              own.inFlight,
              capacity.concurrentRequestsMax,
            ),
          ),
    kvTokens:
      load.kvShare === null
        ? kept.kvTokens
        : beyond(
            load.kvShare * capacity.kvTokensMax,
            own.kvTokens,
            // KV memory counts as full at 0.85 of it (filter-shard.ts).
            capacity.kvTokensMax * believedShareMax,
          ),
  };
}

const nothing = { inFlight: 0, kvTokens: 0 };

/** The load of others as it counts at `nowMs`. */
export function foreignAt(
  foreign: ForeignLoad | null,
  nowMs: number,
): Pick<ForeignLoad, "inFlight" | "kvTokens"> {
  return foreign === null || nowMs - foreign.atMs > freshMs ? nothing : foreign;
}

/** How far a shard is trusted by the age of its reports: in full also when it never made any, because many engines make none. */
export function reportWeight(foreign: ForeignLoad | null, nowMs: number): number {
  return foreign !== null && nowMs - foreign.atMs > lostMs ? lostWeight : 1;
}
