import { createHmac } from "node:crypto";
import { Redis } from "@upstash/redis";
import type { CellDescription, ShardDescription } from "#shared/config/topology.ts";
import { decodeHint } from "#shared/health/hint-codec.ts";
import { hintKey, mergeHint } from "#shared/health/hint.ts";
import type { CellHint } from "#shared/health/hint.ts";
import type { CellId } from "#shared/residency/brands.ts";
import { hasWarmShard } from "#shared/warming/warm-neighbour.ts";

/** The hints are read at most this often, and only while they are asked for, ms. */
const readIntervalMs = 2_000;
const readTimeoutMs = 1_000;

/** What a cell knows of the running shards of the other cells of its jurisdiction. */
export interface Neighbours {
  /** Whether one of them is thought to have a running shard of the model; by what is known now, without waiting. */
  hasWarm(model: string): boolean;
}

export interface NeighboursOptions {
  /** Null: nothing is known but what the topology says. */
  readonly healthKv: {
    readonly url: string;
    readonly token: string;
    readonly macKey: string;
  } | null;
  /** Of the jurisdiction, without this one. */
  readonly cells: readonly CellDescription[];
  /** Of those cells. */
  readonly shards: readonly ShardDescription[];
  /** Whether a cell keeps shards of the model warm by the topology. */
  readonly keepsWarm: (cell: CellId, model: string) => boolean;
  readonly nowMs: () => number;
}

/** Reads the health KV; one that is gone, empty or lying costs a prompt at most one hop to a cell that then waits itself. */
export function createNeighbours(options: NeighboursOptions): Neighbours {
  const { cells, healthKv, keepsWarm, nowMs, shards } = options;
  const hints = new Map<CellId, CellHint>();
  const redis =
    healthKv === null
      ? null
      : new Redis({
          url: healthKv.url,
          token: healthKv.token,
          retry: { retries: 0, backoff: () => 0 },
          enableTelemetry: false,
          enableAutoPipelining: false,
          readYourWrites: false,
          automaticDeserialization: false,
          signal: () => AbortSignal.timeout(readTimeoutMs),
        });
  const macKey = Buffer.from(healthKv?.macKey ?? "", "hex");
  const mac = (text: string): string => createHmac("sha256", macKey).update(text).digest("hex");
  let readAtMs = Number.NEGATIVE_INFINITY;

  async function read(from: Redis): Promise<void> {
    let values: unknown;
    try {
      values = await from.mget(cells.map(({ id }) => hintKey(id)));
    } catch {
      // The last copy ages; the topology remains.
      return;
    }
    if (!Array.isArray(values)) return;
    for (const [index, { id }] of cells.entries()) {
      const decoded = await decodeHint(values[index], mac, { cell: id });
      if (decoded.ok) hints.set(id, mergeHint(hints.get(id), decoded.hint));
    }
  }

  return {
    hasWarm(model) {
      const now = nowMs();
      if (redis !== null && cells.length > 0 && Math.abs(now - readAtMs) >= readIntervalMs) {
        readAtMs = now;
        void read(redis);
      }
      return cells.some(({ id }) => {
        const own = shards.filter((shard) => shard.cell === id && shard.model === model);
        return own.length > 0 && hasWarmShard(own, hints.get(id), keepsWarm(id, model), now);
      });
    },
  };
}
