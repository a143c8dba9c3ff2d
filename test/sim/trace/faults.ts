import type { Ailment } from "./sim-shard.ts";

/** Faults that `--fault` knows. Times are shares of the time in which prompts arrive. */
export const faultNames = [
  "lose-third",
  "slow-shard",
  "hung-shard",
  "fail-fast",
  "liar",
  "tenant-flood",
] as const;

/** What is done to the fleet, or to the workload. */
export type FaultName = (typeof faultNames)[number];

/** When a fault is there, ms of virtual time; Infinity: it does not end. */
export interface FaultTimes {
  readonly fromMs: number;
  readonly untilMs: number;
}

/**
 * How many times as long each step of a struck shard takes: slow, the upper end of 2–5x that docs/simulation.md names; hung, so
 * that nobody hears of it in time; a liar, as `npm run drill -- liar` has it.
 */
const slowFactors: Readonly<Partial<Record<FaultName, number>>> = {
  "slow-shard": 5,
  "hung-shard": 1_000,
  liar: 10,
};

const ailments: Readonly<Record<FaultName, Ailment>> = {
  "lose-third": "dead",
  "slow-shard": "none",
  "hung-shard": "hung",
  "fail-fast": "failing",
  liar: "liar",
  "tenant-flood": "none",
};

/** Factor on the steps of a struck shard. */
export function slowFactorOf(fault: FaultName): number {
  return slowFactors[fault] ?? 1;
}

/** What a struck shard has. */
export function ailmentOf(fault: FaultName): Ailment {
  return ailments[fault];
}

/** Losses are for good from halfway; the others last for the middle third. */
export function faultTimes(fault: FaultName, spanMs: number): FaultTimes {
  return fault === "lose-third"
    ? { fromMs: spanMs / 2, untilMs: Infinity }
    : { fromMs: spanMs / 3, untilMs: (2 * spanMs) / 3 };
}

/** Positions of the shards that a fault strikes, drawn: a third of them for a loss, else one. */
export function struckShards(fault: FaultName, shards: number, random: () => number): number[] {
  if (fault === "tenant-flood") return [];
  const count = fault === "lose-third" ? Math.max(1, Math.round(shards / 3)) : 1;
  return Array.from({ length: shards }, (_, at) => ({ at, lot: random() }))
    .toSorted((left, right) => left.lot - right.lot)
    .slice(0, count)
    .map(({ at }) => at);
}
