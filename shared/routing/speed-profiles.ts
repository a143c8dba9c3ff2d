import type { ShardSpeed } from "./shard-state.ts";

function speed(
  prefillTokensPerSecond: number,
  stepFloorMs: number,
  sequenceMs: number,
  kvTokenNs: number,
): ShardSpeed {
  return {
    prefillTokensPerSecond,
    stepFloorSeconds: stepFloorMs / 1_000,
    sequenceSeconds: sequenceMs / 1_000,
    kvTokenSeconds: kvTokenNs / 1e9,
  };
}

/**
 * What one replica of a GPU and model does, by the name that a shard's `backend.profile` gives it. Prefill tokens per second;
 * step floor (weights read once, and the host) and cost per sequence in ms; cost per resident KV token in ns. Sources, row by
 * row, are those of the simulated engine's profiles (dev/simulated-engine/model/profiles.ts), which a test keeps equal to these.
 */
const speeds = {
  "h100-8b": speed(30_000, 9.94, 0.043, 39.1),
  "h200-8b": speed(30_000, 8, 0.035, 27.3),
  "a100-8b": speed(13_000, 12, 0.048, 64.3),
  "a6000-8b": speed(5_000, 25.9, 0.01, 170.7),
  "a10g-8b": speed(2_800, 30.8, 0.066, 218.5),
  "l4-8b": speed(2_400, 58.7, 0.035, 436.9),
  "4xh100-70b": speed(11_600, 28.6, 0.328, 24.5),
  "8xh100-70b": speed(20_000, 29.7, 0.3, 12.2),
  "4xa100-70b": speed(3_700, 41.6, 0.41, 40.2),
  "8xa100-70b": speed(5_700, 42.6, 0.41, 20.1),
  "cpu-test": speed(2_100_000, 1, 0.001, 0.13),
} as const satisfies Record<string, ShardSpeed>;

/** Names of the hardware that is known. */
export const speedProfiles = Object.keys(speeds) as (keyof typeof speeds)[];

const profiles: ReadonlyMap<string, ShardSpeed> = new Map(Object.entries(speeds));

/**
 * Where a shard of unknown hardware starts: an H100 with an 8B model. Optimistic, because one taken for slow would never be
 * asked and so never be measured; one taken for fast is measured by its first answers.
 */
const unknown: ShardSpeed = speed(30_000, 9.94, 0.043, 39.1);

/** The speed that predictions of a shard start from; `factor` is how many times faster than its profile it runs. */
export function startSpeed(profile: string | undefined, factor: number): ShardSpeed {
  const base = profiles.get(profile ?? "") ?? unknown;
  return {
    prefillTokensPerSecond: base.prefillTokensPerSecond * factor,
    stepFloorSeconds: base.stepFloorSeconds / factor,
    sequenceSeconds: base.sequenceSeconds / factor,
    kvTokenSeconds: base.kvTokenSeconds / factor,
  };
}
