import {
  defaultHedgePolicy,
  judgeHedge,
  newHedgeBudget,
  withHedge,
  withHedgeableTurn,
  withHedgeEnded,
} from "#shared/overload/hedge-budget.ts";
import type { HedgePolicy } from "#shared/overload/hedge-budget.ts";
import { emptyRatios, ratioP95, withRatio } from "#shared/overload/ratio-quantile.ts";
import {
  hasRetry,
  newRetryBudget,
  withFirstAttempt,
  withRetry,
  withTime,
} from "#shared/overload/retry-budget.ts";
import { defaultTryPlanPolicy, planTry } from "#shared/overload/try-plan.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { RandomSource } from "../ports/random.ts";
import type { TurnGuards } from "../turns/turn-guards.ts";
import type { LevelSource } from "./level-source.ts";

/** A shard that was not heard for this long may be cold: serverless platforms stop idle containers after a minute or more, ms. */
const warmMs = 60_000;

export interface GuardOptions {
  readonly level: Pick<LevelSource, "level" | "inputs">;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly metrics: MetricsRegistry;
  readonly hedgePolicy?: HedgePolicy;
}

/** Only small interactive prompts, and only what has not gone through another cell: the budget is this one's. */
function isHedgeable({ engine, hop, priority, resume }: TurnRequest): boolean {
  const isUrgent = priority === "critical" || priority === "interactive";
  return isUrgent && resume === null && hop === 0 && engine.path !== "embeddings";
}

/** The budgets of retries and hedges of one cell, and what it knows of its shards' times. */
export function createTurnGuards(options: GuardOptions): TurnGuards {
  const { clock, hedgePolicy = defaultHedgePolicy, level, metrics, random } = options;
  let retries = newRetryBudget(clock.nowMs());
  let hedges = newHedgeBudget(hedgePolicy);
  let ratios = emptyRatios;
  const heardAtMs = new Map<ShardId, number>();
  const retriesMade = metrics.counter(
    "meridian_retries_total",
    "Tries of another shard before the first token.",
  );
  const hedgesEnded = metrics.counter(
    "meridian_hedges_total",
    "Second shards that were asked the same, by how that ended.",
  );
  metrics.gauge("meridian_retry_budget", "Retries that the cell may make at once.", (gauge) => {
    gauge.set({}, withTime(retries, clock.nowMs()).tokens);
  });

  function mayHedge(request: TurnRequest): boolean {
    if (!isHedgeable(request)) return false;
    const tokens = request.engine.promptTokensEstimate;
    const { saturation } = level.inputs();
    const load = { level: level.level(), saturation };
    return judgeHedge(hedges, tokens, load, clock.nowMs(), hedgePolicy) === "allowed";
  }

  return {
    conditions: (request, elsewhere) => ({
      get mayRetry() {
        retries = withTime(retries, clock.nowMs());
        return hasRetry(retries);
      },
      get mayHedge() {
        return mayHedge(request);
      },
      get elsewhere() {
        return elsewhere();
      },
      random: () => random.unit(),
    }),
    plan(request, { predicted, shard }, isFirst) {
      const isWarm = clock.nowMs() - (heardAtMs.get(shard) ?? Number.NEGATIVE_INFINITY) < warmMs;
      // A cold shard is late because it loads: a second one would only be asked for nothing.
      const isCandidate = isFirst && isWarm && isHedgeable(request);
      const hedgeRatio = isCandidate ? (ratioP95(ratios) ?? 0) : null;
      return planTry(predicted, { isWarm, hedgeRatio }, defaultTryPlanPolicy);
    },
    dispatched(request) {
      retries = withFirstAttempt(retries);
      hedges = withHedgeableTurn(hedges, request.engine.promptTokensEstimate, hedgePolicy);
    },
    retried() {
      retries = withRetry(retries);
      retriesMade.add({});
    },
    hedged(request) {
      hedges = withHedge(hedges, request.engine.promptTokensEstimate);
    },
    hedgeEnded(result) {
      hedgesEnded.add({ result });
      const isJudged = result === "won" || result === "lost";
      if (isJudged) hedges = withHedgeEnded(hedges, result === "won", clock.nowMs(), hedgePolicy);
    },
    spoke({ predicted, shard }, ttftMs) {
      heardAtMs.set(shard, clock.nowMs());
      if (predicted.ttftSeconds > 0)
        ratios = withRatio(ratios, ttftMs / 1000 / predicted.ttftSeconds);
    },
  };
}
