import type { Priority } from "../config/topology.ts";
import type { ForecastState } from "./forecast.ts";
import { forecastDemand } from "./forecast.ts";

/**
 * How sure each class's work shall find room: the routing rules' quantiles of actual / forecast. What the lower classes lack is
 * the reserve of the upper ones.
 */
const quantileOf: Readonly<Record<Priority, number>> = {
  critical: 0.99,
  interactive: 0.99,
  standard: 0.7,
  batch: 0.5,
};

/** Shares of the work by class; they sum up to 1. */
export type ClassShares = Readonly<Record<Priority, number>>;

/** Work to be ready for, in the forecast's unit. */
export interface DemandAhead {
  readonly all: number;
  /** Of it, of the critical and interactive classes: never on replicas that can be called back. */
  readonly firm: number;
}

/** The demand expected `steps` ahead (a horizon of the forecast's policy), each class with its own margin; 0 before anything was seen. */
export function demandAhead(state: ForecastState, steps: number, shares: ClassShares): DemandAhead {
  const upper = (priority: Priority): number => {
    const forecasts = forecastDemand(state, quantileOf[priority]);
    const found = forecasts.find((forecast) => forecast.steps === steps);
    return shares[priority] * (found?.upper ?? 0);
  };
  const firm = upper("critical") + upper("interactive");
  return { firm, all: firm + upper("standard") + upper("batch") };
}
