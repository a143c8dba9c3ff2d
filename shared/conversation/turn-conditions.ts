/** Who else could serve a turn at this moment. */
export interface TurnElsewhere {
  /** Whether another shard of the cell has room for it now. */
  readonly hasRoom: boolean;
  /** Whether another cell of the jurisdiction serves the model. */
  readonly hasNeighbour: boolean;
  /** Whether one of those is thought to have a shard of it that runs. */
  readonly hasWarmNeighbour: boolean;
}

/** What a step may count on besides its event: the cell's budgets and shards at this moment, and chance. */
export interface TurnConditions {
  /** Whether the cell's budget has a retry left. */
  readonly mayRetry: boolean;
  /** Whether a second shard may be asked the same now. */
  readonly mayHedge: boolean;
  readonly elsewhere: TurnElsewhere;
  readonly random: () => number;
}

/** Of a cell without budgets: retries as the policy has them, no hedges. */
export const unlimitedConditions: TurnConditions = {
  mayRetry: true,
  mayHedge: false,
  elsewhere: { hasRoom: true, hasNeighbour: true, hasWarmNeighbour: true },
  random: () => 0,
};
