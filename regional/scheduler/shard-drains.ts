import type { ShardId } from "#shared/residency/brands.ts";
import type { DrainFile, DrainRecord } from "../ports/drain-file.ts";
import type { LifecycleView } from "#shared/warming/shard-lifecycle.ts";
import type { ShardBook } from "./shard-book.ts";

/** A shard as the operator sees it. */
export interface ShardDrainState {
  readonly shard: ShardId;
  readonly model: string;
  /** `draining`: it takes no new turn and has running ones. `drained`: it has none. */
  readonly state: "active" | "draining" | "drained";
  readonly inFlight: number;
  readonly breaker: string;
  /** Health weight, 0..1. */
  readonly weight: number;
  readonly life: LifecycleView;
  /** When turns that still run on it go on elsewhere, ms since the epoch; null while it is active. */
  readonly deadlineMs: number | null;
}

/** Which shards of the cell take no new turns. */
export interface ShardDrains {
  /** Durable on return. A repeat moves the deadline. @throws when it cannot be kept; the shard then stays as it was. */
  drain(shard: ShardId, deadlineMs: number): void;
  /** Durable on return; a shard that is not drained stays as it is. @throws as {@link drain}. */
  undrain(shard: ShardId): void;
  states(): readonly ShardDrainState[];
  /** Has the turns of shards whose deadline has passed go on elsewhere. Repeatable. */
  tick(): void;
}

export interface ShardDrainsOptions {
  readonly book: ShardBook;
  readonly file: DrainFile;
  readonly nowMs: () => number;
  readonly leaveShard: (shard: ShardId) => void;
  /** A shard has become usable again. */
  readonly onUndrained: () => void;
}

/**
 * The drains of one cell, those of its last run included. A shard that left the topology is forgotten: it would come back
 * under the same name as another one.
 * @throws when the file cannot be read.
 */
export function createShardDrains(options: ShardDrainsOptions): ShardDrains {
  const { book, file, leaveShard, nowMs, onUndrained } = options;
  const own = new Map<string, ShardId>(book.statuses(nowMs()).map(({ id }) => [id, id]));
  let records = new Map<ShardId, DrainRecord>();
  for (const record of file.read()) {
    const shard = own.get(record.shard);
    if (shard === undefined) continue;
    records.set(shard, record);
    book.setDraining(shard, true, nowMs());
  }

  function replace(next: Map<ShardId, DrainRecord>): void {
    file.write([...next.values()]);
    records = next;
  }

  return {
    drain(shard, deadlineMs) {
      const sinceMs = records.get(shard)?.sinceMs ?? nowMs();
      replace(new Map(records).set(shard, { shard, sinceMs, deadlineMs }));
      book.setDraining(shard, true, nowMs());
    },
    undrain(shard) {
      if (!records.has(shard)) return;
      const next = new Map(records);
      next.delete(shard);
      replace(next);
      book.setDraining(shard, false, nowMs());
      onUndrained();
    },
    states: () =>
      book.statuses(nowMs()).map(({ breaker, id, inFlight, isDraining, life, model, weight }) => ({
        shard: id,
        model,
        state: !isDraining ? "active" : inFlight > 0 ? "draining" : "drained",
        inFlight,
        breaker,
        weight,
        life,
        deadlineMs: records.get(id)?.deadlineMs ?? null,
      })),
    tick() {
      for (const [shard, { deadlineMs }] of records) {
        if (nowMs() >= deadlineMs) leaveShard(shard);
      }
    },
  };
}
