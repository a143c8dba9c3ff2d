import type { DrillName } from "../options.ts";
import { day } from "./day.ts";
import type { Drill } from "./drill.ts";
import { flood } from "./flood.ts";
import { herd } from "./herd.ts";
import { oneShardDrill } from "./one-shard.ts";
import { retryStorm } from "./retry-storm.ts";
import { third } from "./third.ts";

/** Every drill by its name. */
export const drills: Readonly<Record<DrillName, Drill>> = {
  third,
  "fail-fast": oneShardDrill("one shard answers every prompt with 500 at once", [
    { kind: "status-500" },
  ]),
  slow: oneShardDrill("one shard works ten times slower", [{ kind: "slow", factor: 10 }]),
  liar: oneShardDrill("one shard works ten times slower and tells of no load at all", [
    { kind: "lie", says: "idle" },
    { kind: "slow", factor: 10 },
  ]),
  flood,
  "retry-storm": retryStorm,
  herd,
  day,
};
