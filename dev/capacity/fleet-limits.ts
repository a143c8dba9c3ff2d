import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import { coldStartQuantile } from "#shared/scaling/fleet-cold-start.ts";
import { demandStepSeconds } from "./demand-days.ts";
import type { RegionPlan } from "./region-plan.ts";
import type { OfferSpeed, RequestShape } from "./request-shape.ts";

/** What can end a plan. `use`: how much of the limit is used; above 1 it is broken. */
export interface FleetLimit {
  readonly name: "quota" | "queueWait" | "kvMemory" | "coldStart";
  readonly use: number;
  readonly detail: string;
}

/** From a rise of demand to the request for a replica, seconds: metrics, forecast and plan. */
const noticeSeconds = 30;
/** Starts that the growth is held against. */
const startQuantile = 0.95;

/**
 * P99 of the wait for a free replica of `servers`, seconds: Sakasegawa's approximation of M/M/c (1977) with Allen and Cunneen's
 * factor for bursty arrivals (`dispersion`, 1 is Poisson) and an exponential tail; Infinity where demand exceeds what is there.
 */
export function waitP99(
  demandUnits: number,
  servers: number,
  secondsPerRequest: number,
  dispersion: number,
): number {
  const load = demandUnits / servers;
  if (load >= 1) return Number.POSITIVE_INFINITY;
  const isWaiting = load ** (Math.sqrt(2 * (servers + 1)) - 1);
  const mean = (((dispersion + 1) / 2) * isWaiting * secondsPerRequest) / (servers * (1 - load));
  return isWaiting <= 0.01 ? 0 : (mean / isWaiting) * Math.log(100 * isWaiting);
}

function seconds(value: number): string {
  return value === Number.POSITIVE_INFINITY ? "without end" : `${Number(value.toPrecision(2))} s`;
}

/** What is known of demand and requests beside the plan. */
export interface LimitInput {
  readonly plan: RegionPlan;
  readonly speeds: readonly OfferSpeed[];
  readonly shape: RequestShape;
  readonly dispersion: number;
}

function quota({ plan, speeds }: LimitInput): FleetLimit {
  const most = speeds.reduce(
    (sum, { offer, unitsPerReplica }) => sum + offer.replicasMax * unitsPerReplica,
    0,
  );
  const worst = plan.steps.reduce(
    (found, step) =>
      step.wantedUnits - step.boughtUnits > found.wantedUnits - found.boughtUnits ? step : found,
    plan.steps.reduce(
      (found, step) => (step.wantedUnits > found.wantedUnits ? step : found),
      plan.peak,
    ),
  );
  const { boughtUnits, wantedUnits } = worst;
  const isMissing = wantedUnits - boughtUnits > 1e-6;
  return {
    name: "quota",
    use: isMissing ? wantedUnits / Math.max(1, boughtUnits) : wantedUnits / Math.max(1, most),
    detail: `${wantedUnits} units wanted, ${Math.floor(isMissing ? boughtUnits : most)} can be had under replicasMax${isMissing && boughtUnits < most - 1e-6 ? " (critical and interactive work is never on spot, one spot pool holds 40 % of the rest at most)" : ""}`,
  };
}

function queueWait({ dispersion, plan, shape, speeds }: LimitInput): FleetLimit {
  const unit = speeds[0];
  const seconds99 = unit === undefined ? 0 : 1 / unit.requestsPerSecond;
  const wait = plan.steps.reduce(
    (most, { boughtUnits, demand }) =>
      Math.max(most, waitP99(demand, Math.max(1, boughtUnits), seconds99, dispersion)),
    0,
  );
  const slowest = speeds.reduce(
    (most, { offer }) => Math.max(most, offer.profile.computeMsPerToken),
    0,
  );
  const prefill = (shape.inputTokensP99 * slowest) / 0.85 / 1_000;
  const promised = defaultSelectionPolicy.ttftSloSeconds.interactive;
  return {
    name: "queueWait",
    use: (wait + prefill) / promised,
    detail: `first token P99 ${seconds(wait + prefill)} (queue ${seconds(wait)}, prefill ${seconds(prefill)}), promised ${promised} s to interactive`,
  };
}

function kvMemory({ plan, shape, speeds }: LimitInput): FleetLimit {
  const context = shape.inputTokensMean + shape.outputTokensMean / 2;
  const busy = plan.steps.reduce(
    (most, { boughtUnits, demand }) => Math.max(most, demand / Math.max(1, boughtUnits)),
    0,
  );
  const used = speeds.reduce(
    (most, { batch, offer }) =>
      Math.max(most, (Math.min(1, busy) * batch.sequences * context) / offer.profile.kvTokens),
    0,
  );
  const largest = Math.max(...speeds.map(({ offer }) => offer.profile.kvTokens));
  const fit = shape.contextTokensMost / largest;
  const bound = speeds[0]?.batch;
  return {
    name: "kvMemory",
    use: Math.max(used, fit),
    detail:
      fit > 1
        ? `the longest request has ${shape.contextTokensMost} tokens, a replica holds ${largest}`
        : `${Math.round(100 * used)} % used at the peak; a batch of ${bound?.sequences ?? 0} is bounded by ${bound?.boundBy ?? "nothing"}`,
  };
}

/**
 * Growth within a cold start against what is warm: what the slow offers cannot bring in time the burst offers have to, within
 * their quota; and nothing comes before the fastest start.
 */
function coldStart({ plan, speeds }: LimitInput): FleetLimit {
  const starts = speeds
    .filter(({ offer }) => offer.kind !== "spot" && offer.replicasMax > 0)
    .map((speed) => ({
      ...speed,
      seconds: noticeSeconds + coldStartQuantile(speed.offer.coldStart, startQuantile),
    }));
  const fastest = Math.min(...starts.map((one) => one.seconds));
  const slowest = Math.max(...starts.map((one) => one.seconds));
  const bridge = starts
    .filter((one) => one.offer.kind === "burst")
    .reduce((sum, { offer, unitsPerReplica }) => sum + offer.replicasMax * unitsPerReplica, 0);
  let use = 0;
  let growth = 1;
  plan.steps.forEach(({ boughtUnits, demand, wantedUnits }, at) => {
    // Where the quota ends it, no start is too slow.
    if (wantedUnits - boughtUnits > 1e-6) return;
    const next = plan.steps[at + 1]?.demand ?? demand;
    const within = (time: number): number =>
      demand + Math.max(0, next - demand) * Math.min(1, time / demandStepSeconds);
    const warm = Math.max(1, boughtUnits);
    const here = Math.max(within(fastest) / warm, within(slowest) / (warm + bridge));
    if (here > use) {
      use = here;
      growth = next / Math.max(Number.MIN_VALUE, demand);
    }
  });
  return {
    name: "coldStart",
    use,
    detail: `demand grows ${Number(growth.toPrecision(3))} times in ten minutes, the fastest start takes ${seconds(fastest)}, the slowest ${seconds(slowest)}`,
  };
}

/** All limits of a region's plan, the most used first. */
export function fleetLimits(input: LimitInput): readonly FleetLimit[] {
  return [quota(input), queueWait(input), kvMemory(input), coldStart(input)].toSorted(
    (left, right) => right.use - left.use,
  );
}
