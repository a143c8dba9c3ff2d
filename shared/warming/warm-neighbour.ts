import type { ShardDescription } from "../config/topology.ts";
import type { CellHint } from "../health/hint.ts";

/** An older hint is not believed, ms; one that claims to be further ahead has a wrong clock, ms. As where cells are chosen. */
const hintMsMax = 120_000;
const skewMsMax = 30_000;

/**
 * Whether another cell is thought to have a running shard among `shards`, which are its own and of one model: by its hint while
 * that is young, else by what the topology has it keep warm.
 */
export function hasWarmShard(
  shards: readonly ShardDescription[],
  hint: CellHint | undefined,
  keepsWarm: boolean,
  nowMs: number,
): boolean {
  const ageMs = hint === undefined ? Infinity : nowMs - hint.atMs;
  if (hint === undefined || ageMs > hintMsMax || ageMs < -skewMsMax) {
    return keepsWarm || shards.some(({ scaleToZeroSeconds }) => scaleToZeroSeconds === undefined);
  }
  if (hint.weight === 0) return false;
  const own = new Set<string>(shards.map(({ id }) => id));
  return hint.shards.some(
    ({ breaker, id, state, weight }) =>
      own.has(id) && state === "ready" && breaker !== "open" && weight > 0,
  );
}
