import type { Priority } from "../config/topology.ts";

/** What the levels do to the prompts of each class. Tokens and ms. */
export interface DegradePolicy {
  /** From which level on the smaller model answers, where the tenant allows it; null: never. */
  readonly smallerModelFrom: Readonly<Record<Priority, number | null>>;
  /** Longest answer from level 2 on; null: as asked. */
  readonly outputTokensMax: Readonly<Record<Priority, number | null>>;
  /** Longest history from level 2 on, where tenant or request allow a cut; null: never cut. */
  readonly historyTokensMax: Readonly<Record<Priority, number | null>>;
  /** Parts of the longest history that a cut moves by: the border stays for as long as a part lasts. */
  readonly historySteps: number;
  /** At level 3 a class that would be refused is let in while the saturation is below this; null: never. */
  readonly roomBelow: Readonly<Record<Priority, number | null>>;
  /** The share of that room which counts at level 4, 0..1. */
  readonly roomAtFour: number;
  /** … and while the queue's delay / SLO is below this. */
  readonly roomDelayBelow: number;
  /** Retry-After of a refusal, ms; drawn from 0.75 to 1.5 times this. */
  readonly retryAfterMs: Readonly<Record<Priority, number>>;
}

/**
 * Caps, history and who gets the smaller model: our choice, the table of docs/degradation.md. Room at level 3: the bound that
 * the level is left by, for batch its ceiling (shared/routing/selection-policy.ts), so that capacity which the dwell outlasts
 * is not idle; at level 4 four fifths of it. Waits stay below the 60 s that OpenAI's clients obey.
 */
export const defaultDegradePolicy: DegradePolicy = {
  smallerModelFrom: { critical: null, interactive: 3, standard: 2, batch: 2 },
  outputTokensMax: { critical: null, interactive: 1_024, standard: 512, batch: null },
  historyTokensMax: { critical: null, interactive: 8_192, standard: 4_096, batch: 4_096 },
  historySteps: 4,
  roomBelow: { critical: null, interactive: 0.75, standard: 0.75, batch: 0.55 },
  roomAtFour: 0.8,
  roomDelayBelow: 0.3,
  retryAfterMs: { critical: 2_000, interactive: 5_000, standard: 10_000, batch: 30_000 },
};
