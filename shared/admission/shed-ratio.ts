/** Numbers of the controller of the shed ratio. */
export interface ShedRatioPolicy {
  readonly periodMs: number;
  /** Gains of the error's change and of the error itself. */
  readonly proportional: number;
  readonly integral: number;
  /** Most that the ratio changes in one period. */
  readonly stepMax: number;
  /** Some always get through, so that the end of an overload is seen. */
  readonly ratioMax: number;
}

/** Kp .3, Ki .05, ±.1 a step, 250 ms: starting values of our own, in the form of Uber's Cinnamon (2023). */
export const defaultShedRatioPolicy: ShedRatioPolicy = {
  periodMs: 250,
  proportional: 0.3,
  integral: 0.05,
  stepMax: 0.1,
  ratioMax: 0.95,
};

/** Share of a new period in the means that the error is made of: slots come free in bunches, and a bunch is no change of load. */
const newestShare = 0.2;

/** Error while nobody waits for long, whatever the counts: the share is gone within ten seconds. */
const calmError = -0.5;

/** Where the controller of one model stands. Plain data. */
export interface ShedRatioState {
  /** Share of the arrivals that is shed, 0..ratioMax. */
  readonly ratio: number;
  readonly error: number;
  /** Exponential means over the periods. */
  readonly arrived: number;
  readonly dispatched: number;
  readonly freeSlots: number;
}

/** Nothing is shed. */
export const nothingShed: ShedRatioState = {
  ratio: 0,
  error: 0,
  arrived: 0,
  dispatched: 0,
  freeSlots: 0,
};

/** What was seen in one period. */
export interface ShedInput {
  /** Turns that came and were not shed. */
  readonly arrived: number;
  readonly dispatched: number;
  /** Free slots at its end. */
  readonly freeSlots: number;
  /** Whether turns wait for longer than the controlled delay's target: a burst that the queue absorbs sheds nobody. */
  readonly isLate: boolean;
}

function smooth(mean: number, value: number): number {
  return mean + newestShare * (value - mean);
}

/**
 * The share of arrivals to shed after one more period: a proportional-integral controller, in its incremental form so that it
 * does not wind up, brings the error `(arrived - dispatched - free slots) / arrived` to 0. The share only falls while nobody
 * is late.
 */
export function stepShedRatio(
  state: ShedRatioState,
  input: ShedInput,
  policy: ShedRatioPolicy,
): ShedRatioState {
  const arrived = smooth(state.arrived, input.arrived);
  const dispatched = smooth(state.dispatched, input.dispatched);
  const freeSlots = smooth(state.freeSlots, input.freeSlots);
  const missing = arrived - dispatched - freeSlots;
  const most = input.isLate ? 1 : calmError;
  const error = Math.max(-1, Math.min(most, missing / Math.max(arrived, 1e-3)));
  const change = policy.proportional * (error - state.error) + policy.integral * error;
  // From idle to busy is a change as well, and no reason to shed.
  const rise = input.isLate ? policy.stepMax : 0;
  const step = Math.min(rise, Math.max(-policy.stepMax, change));
  const ratio = Math.min(policy.ratioMax, Math.max(0, state.ratio + step));
  return { ratio, error, arrived, dispatched, freeSlots };
}
