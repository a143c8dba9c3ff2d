import { defaultHedgePolicy } from "#shared/overload/hedge-budget.ts";
import type { HedgePolicy } from "#shared/overload/hedge-budget.ts";
import { defaultTryPlanPolicy } from "#shared/overload/try-plan.ts";
import { TurnBudgets } from "#shared/overload/turn-budgets.ts";
import type { HedgeCandidate } from "#shared/overload/turn-budgets.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { RandomSource } from "../ports/random.ts";
import type { TurnGuards } from "../turns/turn-guards.ts";
import type { LevelSource } from "./level-source.ts";

export interface GuardOptions {
  readonly level: Pick<LevelSource, "level" | "inputs">;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly metrics: MetricsRegistry;
  readonly hedgePolicy?: HedgePolicy;
}

function candidateOf({ engine, hop, priority, resume }: TurnRequest): HedgeCandidate {
  return {
    priority,
    hop,
    isResumed: resume !== null,
    isEmbedding: engine.path === "embeddings",
    promptTokens: engine.promptTokensEstimate,
  };
}

/** The budgets of retries and hedges of one cell, with its clock and its metrics. */
export function createTurnGuards(options: GuardOptions): TurnGuards {
  const { clock, hedgePolicy = defaultHedgePolicy, level, metrics, random } = options;
  const budgets = new TurnBudgets(hedgePolicy, defaultTryPlanPolicy, clock.nowMs());
  const retriesMade = metrics.counter(
    "meridian_retries_total",
    "Tries of another shard before the first token.",
  );
  const hedgesEnded = metrics.counter(
    "meridian_hedges_total",
    "Second shards that were asked the same, by how that ended.",
  );
  metrics.gauge("meridian_retry_budget", "Retries that the cell may make at once.", (gauge) => {
    gauge.set({}, budgets.retryTokens(clock.nowMs()));
  });

  function mayHedge(request: TurnRequest): boolean {
    const load = { level: level.level(), saturation: level.inputs().saturation };
    return budgets.judgeHedge(candidateOf(request), load, clock.nowMs()) === "allowed";
  }

  return {
    conditions: (request, elsewhere) => ({
      get mayRetry() {
        return budgets.mayRetry(clock.nowMs());
      },
      get mayHedge() {
        return mayHedge(request);
      },
      get elsewhere() {
        return elsewhere();
      },
      random: () => random.unit(),
    }),
    plan: (request, { predicted, shard }, isFirst) =>
      budgets.plan(candidateOf(request), { shard, predicted, isFirst }, clock.nowMs()),
    dispatched: (request) => budgets.dispatched(request.engine.promptTokensEstimate),
    retried() {
      budgets.retried();
      retriesMade.add({});
    },
    hedged: (request) => budgets.hedged(request.engine.promptTokensEstimate),
    hedgeEnded(result) {
      hedgesEnded.add({ result });
      budgets.hedgeEnded(result, clock.nowMs());
    },
    spoke({ predicted, shard }, ttftMs) {
      const predictedTtftSeconds = predicted.ttftSeconds;
      budgets.spoke(shard, { predictedTtftSeconds, ttftMs }, clock.nowMs());
    },
  };
}
