import type { ClassShares } from "#shared/scaling/fleet-demand.ts";
import { demandStepSeconds } from "./demand-days.ts";
import type { DemandDays } from "./demand-days.ts";
import type { ElasticFleet } from "./elastic-fleet.ts";
import { fleetLimits } from "./fleet-limits.ts";
import type { FleetLimit } from "./fleet-limits.ts";
import { planRegion, planSteps } from "./region-plan.ts";
import type { RegionPlan } from "./region-plan.ts";
import { offerSpeeds, shapeOf } from "./request-shape.ts";
import type { OfferSpeed, RequestShape } from "./request-shape.ts";
import type { Trace, TraceRequest } from "./request-trace.ts";
import { UsageError } from "./usage-error.ts";

/** A region at one multiple of the demand, with its limits, the most used first. */
export interface RegionAnswer {
  readonly plan: RegionPlan;
  readonly limits: readonly FleetLimit[];
}

/** Everything at one multiple of the demand. */
export interface FactorAnswer {
  readonly factor: number;
  readonly requestsPerSecondMean: number;
  readonly requestsPerSecondPeak: number;
  readonly regions: readonly RegionAnswer[];
}

/** Where a limit breaks first, in multiples of the demand; null: not up to {@link factorMost}. */
export interface Breakpoint {
  readonly region: string;
  readonly name: FleetLimit["name"];
  readonly factor: number | null;
  readonly detail: string;
}

/** The capacity answer of a trace and a fleet. */
export interface CapacityAnswer {
  readonly shape: RequestShape;
  readonly speeds: readonly OfferSpeed[];
  readonly factors: readonly FactorAnswer[];
  /** The first to break comes first. */
  readonly breakpoints: readonly Breakpoint[];
}

/** Multiples of the demand that are answered. */
const factors = [1, 3, 5, 10] as const;
/** Beyond this nobody looks for the first limit to break. */
export const factorMost = 100;
/** Steps in which that is looked for: an eighth of a doubling, about 9 %. */
const factorStep = 2 ** (1 / 8);

/** Demand a step from the times of a trace. @throws UsageError when it has only times within sessions. */
export function daysOf(path: string, { hasSessionTimes, requests }: Trace): DemandDays {
  if (hasSessionTimes)
    throw new UsageError(
      `--trace ${path}: got sessions without absolute times, wanted --days FILE with the rates`,
    );
  const lastMs = requests.reduce((last, { atMs }) => Math.max(last, atMs), 1);
  const stepMs = demandStepSeconds * 1_000;
  const counts: number[] = [];
  for (const { atMs } of requests) {
    const at = Math.floor(Math.max(0, atMs) / stepMs);
    counts[at] = (counts[at] ?? 0) + 1;
  }
  const rates = Array.from({ length: counts.length }, (_, at) => {
    // The last step may be a short one: a tenth of it at least is needed to tell a rate.
    const ms = Math.max(stepMs / 10, Math.min(stepMs, lastMs - at * stepMs));
    return ((counts[at] ?? 0) * 1_000) / ms;
  });
  return { rates, dispersion: rates.map(() => 1) };
}

/** What a question needs. */
export interface CapacityQuestion {
  readonly requests: readonly TraceRequest[];
  readonly days: DemandDays;
  readonly fleet: ElasticFleet;
  readonly shares: ClassShares;
}

/** Shards, cost and limits at 1, 3, 5 and 10 times the demand, and what breaks first. */
export function answerCapacity({
  days,
  fleet,
  requests,
  shares,
}: CapacityQuestion): CapacityAnswer {
  const shape = shapeOf(requests);
  const speeds = offerSpeeds(requests, fleet.offers);
  const perUnit = speeds[0]?.requestsPerSecond ?? 1;
  const planned = planSteps(
    days.rates.map((rate) => rate / perUnit),
    shares,
  );
  const dispersion = days.dispersion.toSorted((a, b) => a - b)[days.rates.length >> 1] ?? 1;
  const regionsAt = (factor: number): readonly RegionAnswer[] =>
    fleet.regions.map((region) => {
      const plan = planRegion(region, planned, factor, speeds);
      return { plan, limits: fleetLimits({ plan, speeds, shape, dispersion }) };
    });
  const mean = days.rates.reduce((sum, rate) => sum + rate, 0) / days.rates.length;
  const peak = days.rates.reduce((most, rate) => Math.max(most, rate), 0);
  const answers = factors.map((factor) => ({
    factor,
    requestsPerSecondMean: factor * mean,
    requestsPerSecondPeak: factor * peak,
    regions: regionsAt(factor),
  }));
  const found = new Map<string, Breakpoint>();
  for (let factor = 1; factor <= factorMost; factor *= factorStep)
    for (const { plan, limits } of regionsAt(factor))
      for (const { detail, name, use } of limits) {
        const region = plan.region.name;
        const key = `${region}/${name}`;
        if ((found.get(key)?.factor ?? null) !== null) continue;
        found.set(key, { region, name, factor: use > 1 ? factor : null, detail });
      }
  return {
    shape,
    speeds,
    factors: answers,
    breakpoints: [...found.values()].toSorted(
      (left, right) => (left.factor ?? Infinity) - (right.factor ?? Infinity),
    ),
  };
}
