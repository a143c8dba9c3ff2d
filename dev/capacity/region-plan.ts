import type { ClassShares, DemandAhead } from "#shared/scaling/fleet-demand.ts";
import { demandAhead } from "#shared/scaling/fleet-demand.ts";
import { choosePurchase } from "#shared/scaling/fleet-purchase.ts";
import { defaultForecastPolicy } from "#shared/scaling/forecast-policy.ts";
import { newForecast, observeDemand } from "#shared/scaling/forecast.ts";
import { newPlanState, planCapacity } from "#shared/scaling/plan-capacity.ts";
import { defaultPlanPolicy } from "#shared/scaling/plan-policy.ts";
import type { FleetRegion } from "./elastic-fleet.ts";
import type { OfferSpeed } from "./request-shape.ts";

/** One step of demand: what came, and what the plan had to be ready for a step before. */
export interface PlannedStep {
  /** Units: replicas of the first offer kept busy. */
  readonly demand: number;
  readonly ahead: DemandAhead;
}

/**
 * Each step with the demand that the forecast would have had the plan ready for; never less than what came, since a running plan
 * sees that within a minute. `units`: demand a step, in units.
 */
export function planSteps(units: readonly number[], shares: ClassShares): readonly PlannedStep[] {
  const policy = defaultForecastPolicy;
  let state = newForecast(policy);
  const firmShare = shares.critical + shares.interactive;
  return units.map((demand) => {
    const { all, firm } = demandAhead(state, 1, shares);
    state = observeDemand(state, demand, policy);
    return {
      demand,
      ahead: { all: Math.max(all, demand), firm: Math.max(firm, firmShare * demand) },
    };
  });
}

/** What a region holds in one step. */
interface HeldStep {
  readonly demand: number;
  /** Units that the plan wants, and that can be had of them. */
  readonly wantedUnits: number;
  readonly boughtUnits: number;
  readonly replicas: Readonly<Record<string, number>>;
  readonly usdPerHour: number;
}

/** What a region needs for its share of the demand. */
export interface RegionPlan {
  readonly region: FleetRegion;
  readonly steps: readonly HeldStep[];
  /** The dearest step. */
  readonly peak: HeldStep;
  readonly usdPerHourMean: number;
}

/** Replicas and cost of a region, step by step, at `factor` times its share of the demand. */
export function planRegion(
  region: FleetRegion,
  planned: readonly PlannedStep[],
  factor: number,
  speeds: readonly OfferSpeed[],
): RegionPlan {
  const scale = factor * region.demandShare;
  const offers = speeds.map(({ offer, unitsPerReplica }) => ({ ...offer, unitsPerReplica }));
  const policy = { ...defaultPlanPolicy, replicasMin: region.replicasMin };
  const steps = planned.map(({ ahead, demand }): HeldStep => {
    const input = {
      measuredAtMs: 0,
      replicas: 0,
      demand: scale * ahead.all,
      demandNow: scale * demand,
      backlogSeconds: 0,
      backlogGrowth: 0,
    };
    const wantedUnits = Math.max(
      region.replicasMin,
      planCapacity(newPlanState, input, 0, policy).wanted,
    );
    const firmUnits = (wantedUnits * ahead.firm) / Math.max(Number.MIN_VALUE, ahead.all);
    const { missingUnits, replicas } = choosePurchase(
      { wantedUnits, firmUnits, urgentUnits: 0 },
      offers,
    );
    return {
      demand: scale * demand,
      wantedUnits,
      boughtUnits: wantedUnits - missingUnits,
      replicas,
      usdPerHour: offers.reduce(
        (sum, { name, usdPerHour }) =>
          sum + (replicas[name] ?? 0) * usdPerHour * region.priceFactor,
        0,
      ),
    };
  });
  const [first] = steps;
  if (first === undefined) throw new RangeError("demand: got no steps, wanted one at least");
  return {
    region,
    steps,
    peak: steps.reduce((most, step) => (step.usdPerHour > most.usdPerHour ? step : most), first),
    usdPerHourMean: steps.reduce((sum, { usdPerHour }) => sum + usdPerHour, 0) / steps.length,
  };
}
