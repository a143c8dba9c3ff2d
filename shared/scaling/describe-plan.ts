import type { WorkRates } from "./expected-demand.ts";
import type { ScalePlan } from "./scale-model.ts";

const words: Readonly<Record<ScalePlan["reason"], string>> = {
  steady: "enough for what is expected",
  demandRises: "demand rises",
  backlog: "work waits",
  late: "first tokens come late",
  zoneReserve: "too few would be left without the largest zone",
  panic: "demand is more than twice what there is",
  demandFalls: "demand fell",
  held: "less would do, and nothing goes yet",
  atMinimum: "the minimum",
  atMaximum: "the maximum",
  inputMissing: "no usable input: kept",
  priceMissing: "no price to choose a pool by: kept",
  poolUnseen: "a pool cannot be seen: kept",
};

const lengthMax = 200;

function shown(value: number): string {
  return value.toFixed(2);
}

/** The reason of a plan in words and numbers, for a log line of 200 characters. */
export function describeModelPlan(
  plan: Pick<ScalePlan, "reason" | "there" | "replicas" | "firm" | "unplaced" | "pools">,
  load: {
    readonly expected: WorkRates;
    readonly backlogSeconds: number;
    /** There are too few spot pools to count on. */
    readonly isSpotBeside: boolean;
  } | null,
): string {
  const { firm, pools, reason, replicas, there, unplaced } = plan;
  const parts = [`${there} to ${replicas}: ${words[reason]}`];
  if (load !== null) {
    const { backlogSeconds, expected } = load;
    parts.push(
      `work ${shown(expected.protected)} protected + ${shown(expected.other)}, waiting ${shown(backlogSeconds)} s, firm ${firm}`,
    );
  }
  const changed = pools.filter((pool) => pool.replicas !== pool.there || pool.isShort);
  for (const { isShort, pool, replicas: next, there: before } of changed)
    parts.push(`${pool} ${before} to ${next}${isShort ? " (short)" : ""}`);
  const bridge = pools.reduce((sum, pool) => sum + pool.bridge, 0);
  if (bridge > 0) parts.push(`${bridge} of them until others start`);
  if (load?.isSpotBeside === true) parts.push("too few spot pools to count on");
  if (unplaced > 0) parts.push(`${unplaced} without a place`);
  return parts.join("; ").slice(0, lengthMax);
}
