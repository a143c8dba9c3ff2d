import type { EngineState, Supervisor } from "../../ports/supervisor.ts";
import type { Platform } from "../../ports/platform.ts";

const kept: ReadonlySet<EngineState | undefined> = new Set(["running", "starting"]);

/**
 * Simulated engines that `npm run dev` starts and stops; the first shards of a pool are the last to go. The supervisor refuses a
 * lower token, and ends an engine once the cell whose shard it is has no prompt there any more (warming/scaled-shards.ts).
 */
export function createProcessPlatform(supervisor: Supervisor): Platform {
  return {
    async observe(pool, readyShards, signal) {
      const states = await supervisor.states(signal);
      if (states === null) return null;
      const there = pool.shards.filter((shard) => kept.has(states.get(shard)));
      return {
        desired: there.length,
        ready: there.filter((shard) => readyShards.has(shard)).length,
      };
    },
    async apply(pool, replicas, token, signal) {
      const states = await supervisor.states(signal);
      if (states === null) return "failed";
      for (const [index, shard] of pool.shards.entries()) {
        const isWanted = index < replicas;
        if (isWanted === kept.has(states.get(shard))) continue;
        const outcome = await supervisor.set(shard, isWanted, token, signal);
        if (outcome !== "applied") return outcome;
      }
      return "applied";
    },
    close() {},
  };
}
