/** What a step may count on besides its event: the cell's budgets at this moment, and chance. */
export interface TurnConditions {
  /** Whether the cell's budget has a retry left. */
  readonly mayRetry: boolean;
  /** Whether a second shard may be asked the same now. */
  readonly mayHedge: boolean;
  readonly random: () => number;
}

/** Of a cell without budgets: retries as the policy has them, no hedges. */
export const unlimitedConditions: TurnConditions = {
  mayRetry: true,
  mayHedge: false,
  random: () => 0,
};
