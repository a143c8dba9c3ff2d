/** Numbers of the capacity plan of one model in one region. */
export interface PlanPolicy {
  readonly replicasMin: number;
  readonly replicasMax: number;
  /** Share of a replica that may be busy. */
  readonly utilisationMax: number;
  /** Spare replicas per root of the load (square-root staffing). */
  readonly staffingBeta: number;
  /** Within which a backlog must be worked off, seconds. */
  readonly drainSeconds: number;
  /** From asking for a replica to its first answer, P95 and margin, seconds. */
  readonly horizonSeconds: number;
  /** Largest step up within one horizon, as a factor. */
  readonly growthMax: number;
  /** Largest share of replicas that goes in a minute. */
  readonly shrinkPerMinute: number;
  /** What the most of which must allow a step down, ms. */
  readonly shrinkWindowMs: number;
  /** After a step up nothing goes for, ms. */
  readonly holdMs: number;
  /** Load over capacity from which a burst is a panic, and how long nothing goes after one, ms. */
  readonly panicLoad: number;
  readonly panicMs: number;
  /** Share of late first tokens from which one more is wanted, and the load per replica that they must have had for it. */
  readonly lateShareMax: number;
  readonly lateLoadMin: number;
  /** Oldest input that is planned from, ms. */
  readonly inputAgeMsMax: number;
}

/**
 * Starting values: utilisation, staffing (Halfin and Whitt 1981), drain, growth, the 15 % a minute, the 10 and 5 minutes are the
 * routing rules' for scaling; panic is Knative's (autoscaler: 2x in a window of 6 s, 60 s). Lateness is our choice: one in twenty, from half the wanted use on. The horizon is a SageMaker instance's
 * 260 s and 30 s.
 */
export const defaultPlanPolicy: PlanPolicy = {
  replicasMin: 1,
  replicasMax: 100,
  utilisationMax: 0.7,
  staffingBeta: 1.5,
  drainSeconds: 60,
  horizonSeconds: 290,
  growthMax: 2,
  shrinkPerMinute: 0.15,
  shrinkWindowMs: 600_000,
  holdMs: 300_000,
  panicLoad: 2,
  panicMs: 60_000,
  lateShareMax: 0.05,
  lateLoadMin: 0.35,
  inputAgeMsMax: 120_000,
};
