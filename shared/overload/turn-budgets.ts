import type { Priority } from "../config/topology.ts";
import type { HedgeResult } from "../conversation/turn-events.ts";
import type { ShardId } from "../residency/brands.ts";
import {
  judgeHedge,
  newHedgeBudget,
  withHedge,
  withHedgeableTurn,
  withHedgeEnded,
} from "./hedge-budget.ts";
import type { HedgeBudget, HedgePolicy, HedgeVerdict } from "./hedge-budget.ts";
import type { DegradationLevel } from "./level-policy.ts";
import { emptyRatios, ratioP95, withRatio } from "./ratio-quantile.ts";
import type { RatioWindow } from "./ratio-quantile.ts";
import { hasRetry, newRetryBudget, withFirstAttempt, withRetry, withTime } from "./retry-budget.ts";
import type { RetryBudget } from "./retry-budget.ts";
import { planTry } from "./try-plan.ts";
import type { PredictedTry, TryPlan, TryPlanPolicy } from "./try-plan.ts";

/** A shard that was not heard for this long may be cold: serverless platforms stop idle containers after a minute or more, ms. */
const warmMs = 60_000;

/** What of a turn decides whether a second shard may be asked the same. */
export interface HedgeCandidate {
  readonly priority: Priority;
  /** By how many cells it was passed on. */
  readonly hop: number;
  /** Whether its client has some of the answer already. */
  readonly isResumed: boolean;
  readonly isEmbedding: boolean;
  readonly promptTokens: number;
}

/** Only small interactive prompts, and only what has not gone through another cell: the budget is this one's. */
function isHedgeable({ hop, isEmbedding, isResumed, priority }: HedgeCandidate): boolean {
  const isUrgent = priority === "critical" || priority === "interactive";
  return isUrgent && !isResumed && hop === 0 && !isEmbedding;
}

/**
 * The budgets of retries and hedges of one cell, and what it knows of its shards' times. It holds no clock and dispatches
 * nothing: its owner tells it what happens. The cell and the simulator run it unchanged.
 */
export class TurnBudgets {
  readonly #hedgePolicy: HedgePolicy;
  readonly #planPolicy: TryPlanPolicy;
  readonly #heardAtMs = new Map<ShardId, number>();
  #retries: RetryBudget;
  #hedges: HedgeBudget;
  #ratios: RatioWindow = emptyRatios;

  constructor(hedgePolicy: HedgePolicy, planPolicy: TryPlanPolicy, nowMs: number) {
    this.#hedgePolicy = hedgePolicy;
    this.#planPolicy = planPolicy;
    this.#retries = newRetryBudget(nowMs);
    this.#hedges = newHedgeBudget(hedgePolicy);
  }

  /** Retries that the cell may make at once. */
  retryTokens(nowMs: number): number {
    return withTime(this.#retries, nowMs).tokens;
  }

  mayRetry(nowMs: number): boolean {
    this.#retries = withTime(this.#retries, nowMs);
    return hasRetry(this.#retries);
  }

  /** Whether a hedge of the turn may be begun now; `unfit`: it is none that is ever hedged. */
  judgeHedge(
    turn: HedgeCandidate,
    load: { readonly level: DegradationLevel; readonly saturation: number },
    nowMs: number,
  ): HedgeVerdict | "unfit" {
    if (!isHedgeable(turn)) return "unfit";
    return judgeHedge(this.#hedges, turn.promptTokens, load, nowMs, this.#hedgePolicy);
  }

  /** Plans a dispatch to `shard`; `isFirst`: nothing of the turn was said or hedged yet. */
  plan(
    turn: HedgeCandidate,
    {
      isFirst,
      predicted,
      shard,
    }: { readonly shard: ShardId; readonly predicted: PredictedTry; readonly isFirst: boolean },
    nowMs: number,
  ): TryPlan {
    const isWarm = nowMs - (this.#heardAtMs.get(shard) ?? Number.NEGATIVE_INFINITY) < warmMs;
    // A cold shard is late because it loads: a second one would only be asked for nothing.
    const isCandidate = isFirst && isWarm && isHedgeable(turn);
    const hedgeRatio = isCandidate ? (ratioP95(this.#ratios) ?? 0) : null;
    return planTry(predicted, { isWarm, hedgeRatio }, this.#planPolicy);
  }

  /** A turn was dispatched for the first time. */
  dispatched(promptTokens: number): void {
    this.#retries = withFirstAttempt(this.#retries);
    this.#hedges = withHedgeableTurn(this.#hedges, promptTokens, this.#hedgePolicy);
  }

  retried(): void {
    this.#retries = withRetry(this.#retries);
  }

  hedged(promptTokens: number): void {
    this.#hedges = withHedge(this.#hedges, promptTokens);
  }

  hedgeEnded(result: HedgeResult, nowMs: number): void {
    const isJudged = result === "won" || result === "lost";
    if (!isJudged) return;
    this.#hedges = withHedgeEnded(this.#hedges, result === "won", nowMs, this.#hedgePolicy);
  }

  /** A shard has given its first token `ttftMs` after its dispatch. */
  spoke(
    shard: ShardId,
    {
      predictedTtftSeconds,
      ttftMs,
    }: { readonly predictedTtftSeconds: number; readonly ttftMs: number },
    nowMs: number,
  ): void {
    this.#heardAtMs.set(shard, nowMs);
    if (predictedTtftSeconds > 0)
      this.#ratios = withRatio(this.#ratios, ttftMs / 1_000 / predictedTtftSeconds);
  }
}
