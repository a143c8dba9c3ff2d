import * as z from "zod";
import type { PoolDescription } from "#shared/config/scaling.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { ActuationOutcome } from "#shared/scaling/actuation.ts";
import type { Platform } from "../../ports/platform.ts";

/** What the platform needs of the cell: prompts leave a shard before its engine ends. */
export interface ShardLeaving {
  /** Takes no new prompts there; what runs goes on elsewhere after a while. */
  leave(shard: ShardId): void;
  /** Nothing runs there any more. */
  isEmpty(shard: ShardId): boolean;
  comeBack(shard: ShardId): void;
}

export interface ProcessPlatformOptions {
  /** The supervisor's control endpoint, on loopback. */
  readonly url: string;
  readonly token: string;
  readonly leaving: ShardLeaving;
}

const runningSchema = z.strictObject({ running: z.array(z.string()).max(1_000) });

/**
 * Simulated engines that `npm run dev` starts and stops. A shard is drained first and ended when nothing runs on it; the first shards
 * of a pool are the last to go. The supervisor refuses a lower token.
 */
export function createProcessPlatform(options: ProcessPlatformOptions): Platform {
  const { leaving, token: key, url } = options;
  /** Shards that shall end once they are empty, with the token that says so. */
  const ending = new Map<ShardId, number>();
  /** Shards that were drained from here; what an operator has drained stays so. */
  const left = new Set<ShardId>();

  async function call(
    path: string,
    init: RequestInit,
    signal: AbortSignal,
  ): Promise<Response | null> {
    try {
      return await fetch(new URL(path, url), {
        ...init,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        redirect: "manual",
        signal,
      });
    } catch {
      return null;
    }
  }

  async function running(signal: AbortSignal): Promise<ReadonlySet<string> | null> {
    const response = await call("/shards", { method: "GET" }, signal);
    if (response?.status !== 200) return null;
    const parsed = runningSchema.safeParse(await response.json().catch(() => null));
    return parsed.success ? new Set(parsed.data.running) : null;
  }

  async function set(
    shard: ShardId,
    isRunning: boolean,
    token: number,
    signal: AbortSignal,
  ): Promise<ActuationOutcome> {
    const body = JSON.stringify({ shard, running: isRunning, token });
    const response = await call("/shards", { method: "PUT", body }, signal);
    await response?.body?.cancel();
    if (response?.status === 409) return "fenced";
    return response?.status === 200 ? "applied" : "failed";
  }

  async function endEmpty(pool: PoolDescription, signal: AbortSignal): Promise<void> {
    for (const shard of pool.shards) {
      const token = ending.get(shard);
      if (token === undefined || !leaving.isEmpty(shard)) continue;
      const outcome = await set(shard, false, token, signal);
      if (outcome !== "failed") ending.delete(shard);
    }
  }

  return {
    async observe(pool, readyShards, signal) {
      await endEmpty(pool, signal);
      const up = await running(signal);
      if (up === null) return null;
      const kept = pool.shards.filter((shard) => up.has(shard) && !ending.has(shard));
      return {
        desired: kept.length,
        ready: kept.filter((shard) => readyShards.has(shard)).length,
      };
    },
    async apply(pool, replicas, token, signal) {
      const up = await running(signal);
      if (up === null) return "failed";
      for (const [index, shard] of pool.shards.entries()) {
        if (index >= replicas) {
          if (!up.has(shard) || ending.has(shard)) continue;
          ending.set(shard, token);
          left.add(shard);
          leaving.leave(shard);
          continue;
        }
        ending.delete(shard);
        if (!up.has(shard)) {
          const outcome = await set(shard, true, token, signal);
          if (outcome !== "applied") return outcome;
        }
        if (left.delete(shard)) leaving.comeBack(shard);
      }
      return "applied";
    },
    close() {},
  };
}
