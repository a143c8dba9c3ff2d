/** A degradation level of a cell: 0 is full service, 4 is service for the critical class alone. */
export type DegradationLevel = 0 | 1 | 2 | 3 | 4;

/** What a level is decided from, at one moment. */
export interface LevelInputs {
  /** Used share of the capacity that is healthy; 1 is full, more is possible. Smoothed by the machine. */
  readonly saturation: number;
  /** Longest wait in the queue over the time to first token that its class is promised; batch does not count. */
  readonly queueDelay: number;
  /** Healthy share of the capacity that has been healthy before, 0..1; 1 while nothing is known. */
  readonly healthyShare: number;
  /** Share of the turns of the last 10 s that failed by our fault, 0..1; refusals do not count. */
  readonly errorRatio: number;
}

/** Which input raised a level: metric label, log field and assertion. */
export type LevelCause = keyof LevelInputs;

/** One way into a level: the input is beyond its bound for `heldMs` without a break. */
export interface LevelEntry {
  readonly cause: LevelCause;
  /** Above it; for `healthyShare` below it. */
  readonly bound: number;
  readonly heldMs: number;
}

/** How one level is entered (any of the entries) and left for the one below (all bounds, and no entry of its own true). */
export interface LevelRule {
  readonly enter: readonly LevelEntry[];
  readonly leave: {
    readonly saturationBelow: number;
    /** Infinity: not asked. */
    readonly queueDelayBelow: number;
    /** 0: not asked. */
    readonly healthyShareAbove: number;
    readonly heldMs: number;
  };
}

/** The levels of a cell. */
export interface LevelPolicy {
  /** Time constant of the saturation's exponential mean, ms. */
  readonly saturationTauMs: number;
  /**
   * A level that was raised while shards were lost is left after this dwell once this share of the capacity is healthy again,
   * ms: what caused it is known to be over.
   */
  readonly healed: { readonly healthyShareMin: number; readonly heldMs: number };
  /** Rules of the levels 1 to 4. */
  readonly rules: Readonly<Record<1 | 2 | 3 | 4, LevelRule>>;
}

/**
 * Bounds, holds of saturation and dwells: starting values of our own, of the table in docs/degradation.md; to be tuned by
 * simulation. Healed: the bound below which level 2 is entered for lost shards, and two looks of an operator. Delay, health and errors are held 5 s as well, so that one lost probe or one slow prompt raises nothing.
 */
export const defaultLevelPolicy: LevelPolicy = {
  saturationTauMs: 10_000,
  healed: { healthyShareMin: 0.85, heldMs: 10_000 },
  rules: {
    1: {
      enter: [{ cause: "saturation", bound: 0.75, heldMs: 15_000 }],
      leave: {
        saturationBelow: 0.65,
        queueDelayBelow: Number.POSITIVE_INFINITY,
        healthyShareAbove: 0,
        heldMs: 60_000,
      },
    },
    2: {
      enter: [
        { cause: "saturation", bound: 0.85, heldMs: 10_000 },
        { cause: "queueDelay", bound: 0.5, heldMs: 5_000 },
        { cause: "healthyShare", bound: 0.85, heldMs: 5_000 },
      ],
      leave: { saturationBelow: 0.7, queueDelayBelow: 0.3, healthyShareAbove: 0, heldMs: 90_000 },
    },
    3: {
      enter: [
        { cause: "saturation", bound: 0.95, heldMs: 5_000 },
        { cause: "queueDelay", bound: 1, heldMs: 5_000 },
        { cause: "healthyShare", bound: 0.6, heldMs: 5_000 },
        { cause: "errorRatio", bound: 0.05, heldMs: 5_000 },
      ],
      leave: {
        saturationBelow: 0.75,
        queueDelayBelow: Number.POSITIVE_INFINITY,
        healthyShareAbove: 0,
        heldMs: 120_000,
      },
    },
    4: {
      enter: [
        { cause: "saturation", bound: 1.1, heldMs: 30_000 },
        { cause: "healthyShare", bound: 0.3, heldMs: 5_000 },
      ],
      leave: {
        saturationBelow: 0.75,
        queueDelayBelow: Number.POSITIVE_INFINITY,
        healthyShareAbove: 0.5,
        heldMs: 180_000,
      },
    },
  },
};
