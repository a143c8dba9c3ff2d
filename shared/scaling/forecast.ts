import type { ForecastPolicy } from "./forecast-policy.ts";
import { forecastMembers, members } from "./forecast-members.ts";
import type { Member, Observed } from "./forecast-members.ts";
import { beginHoltWinters, stepHoltWinters } from "./holt-winters.ts";

type Forecasts = Readonly<Record<Member, number | null>>;

/** How well one horizon was forecast. */
interface HorizonRecord {
  readonly steps: number;
  /** Average relative error of each member; null until it was wrong or right once. */
  readonly errors: Readonly<Record<Member, number | null>>;
  /** The same of the members' weighed mean. */
  readonly mixedError: number | null;
  /** What was said of the steps to come, oldest first: at most `steps` of them. */
  readonly pending: readonly {
    readonly members: Forecasts;
    readonly mixed: number;
    readonly mean: number;
  }[];
  /** Actual / forecast, newest last. */
  readonly ratios: readonly number[];
}

/** All that a forecast knows: a value a step, from any start. */
export interface ForecastState extends Observed {
  readonly horizons: readonly HorizonRecord[];
}

const unknownErrors: Readonly<Record<Member, number | null>> = {
  persistence: null,
  trend: null,
  season: null,
  holtWinters: null,
};

/** Nothing seen yet. */
export function newForecast(policy: ForecastPolicy): ForecastState {
  return {
    values: [],
    count: 0,
    trendLevel: 0,
    trendSlope: 0,
    holtWinters: null,
    horizons: policy.horizonSteps.map((steps) => ({
      steps,
      errors: unknownErrors,
      mixedError: null,
      pending: [],
      ratios: [],
    })),
  };
}

/** The members' mean, each weighed by the inverse square of its usual relative error. */
function meanOf(
  forecasts: Forecasts,
  errors: HorizonRecord["errors"],
  { errorFloor }: ForecastPolicy,
): number {
  let sum = 0;
  let weights = 0;
  for (const member of members) {
    const forecast = forecasts[member];
    const error = errors[member];
    // Until a member has been judged only persistence speaks.
    if (forecast === null || (error === null && member !== "persistence")) continue;
    const weight = 1 / ((error ?? 0) ** 2 + errorFloor);
    sum += weight * forecast;
    weights += weight;
  }
  return weights === 0 ? 0 : sum / weights;
}

/** What one step may count as at most: a relative error, actual / forecast, and a demand. One step of nonsense moves nothing far. */
const errorMax = 4;
const ratioMax = 100;
const demandMax = 1e12;

/** The average of relative errors after one more. */
function averaged(before: number | null, error: number, { errorAlpha }: ForecastPolicy): number {
  const counted = Math.min(error, errorMax);
  return before === null ? counted : before + errorAlpha * (counted - before);
}

/** The record after `value` came true. */
function judge(record: HorizonRecord, value: number, policy: ForecastPolicy): HorizonRecord {
  const [said] = record.pending;
  // A step of silence is an outage, not an error of a forecast; what was said of it is forgotten.
  if (said === undefined || record.pending.length < record.steps) return record;
  const pending = record.pending.slice(1);
  if (!(value > 0)) return { ...record, pending };
  const errors = { ...record.errors };
  for (const member of members) {
    const forecast = said.members[member];
    if (forecast === null) continue;
    errors[member] = averaged(errors[member], Math.abs(forecast - value) / value, policy);
  }
  const mixedError = averaged(record.mixedError, Math.abs(said.mixed - value) / value, policy);
  const ratios =
    said.mean > 0
      ? [...record.ratios, Math.min(ratioMax, value / said.mean)].slice(-policy.ratiosMax)
      : record.ratios;
  return { ...record, pending, errors, mixedError, ratios };
}

/**
 * The state after one more step's demand, 0 to 1e12; a value that is no number counts as 0.
 */
export function observeDemand(
  state: ForecastState,
  demand: number,
  policy: ForecastPolicy,
): ForecastState {
  const value = demand > 0 ? Math.min(demandMax, demand) : 0;
  const values = [...state.values, value].slice(-(policy.seasonSteps + 1));
  const count = state.count + 1;
  const { alpha, beta, phi } = policy.trend;
  const expected = state.trendLevel + phi * state.trendSlope;
  const trendLevel = state.count === 0 ? value : alpha * value + (1 - alpha) * expected;
  const trendSlope =
    state.count === 0
      ? 0
      : beta * (trendLevel - state.trendLevel) + (1 - beta) * phi * state.trendSlope;
  const position = (count - 1) % policy.seasonSteps;
  const holtWinters =
    state.holtWinters === null
      ? count >= policy.seasonSteps && position === policy.seasonSteps - 1
        ? beginHoltWinters(values.slice(-policy.seasonSteps))
        : null
      : stepHoltWinters(state.holtWinters, value, position, policy.holtWinters);
  const seen: Observed = { values, count, trendLevel, trendSlope, holtWinters };
  const horizons = state.horizons.map((record) => {
    const judged = judge(record, value, policy);
    const forecasts = forecastMembers(seen, judged.steps, policy);
    const mixed = meanOf(forecasts, judged.errors, policy);
    // The mean has to earn its place: where it was wrong more often than "as now", "as now" is what is said.
    const isWorse = (judged.mixedError ?? 0) >= (judged.errors.persistence ?? 0);
    const mean = isWorse ? (forecasts.persistence ?? mixed) : mixed;
    return { ...judged, pending: [...judged.pending, { members: forecasts, mixed, mean }] };
  });
  return { ...seen, horizons };
}

/** The `quantile` of `values`, the nearest rank; 1 when there are none. */
function quantileOf(values: readonly number[], quantile: number): number {
  if (values.length === 0) return 1;
  const sorted = values.toSorted((left, right) => left - right);
  // The rank that split conformal prediction takes: ⌈(n + 1) q⌉ of n (Vovk et al.; Lei et al. 2018).
  const rank = Math.ceil((sorted.length + 1) * quantile);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1] ?? 1;
}

/** What is expected at one horizon. */
export interface Forecast {
  readonly steps: number;
  readonly mean: number;
  /** Below which demand stays with the wanted probability, as far as the past tells. */
  readonly upper: number;
}

/**
 * Demand at each horizon of the policy, with a margin that held for the share `quantile` of the past: the wanted quantile of
 * actual / forecast at that horizon (conformal). Before anything was seen: 0.
 */
export function forecastDemand(state: ForecastState, quantile: number): readonly Forecast[] {
  return state.horizons.map(({ pending, ratios, steps }) => {
    const mean = pending.at(-1)?.mean ?? 0;
    return { steps, mean, upper: mean * quantileOf(ratios, quantile) };
  });
}
