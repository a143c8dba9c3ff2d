import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { TurnObserver } from "./turn-observer.ts";
import type { UsageQueue } from "./usage-queue.ts";

/** Bounds of waits for a start, seconds. */
const coldBounds = [0.5, 1, 2.5, 5, 10, 20, 40, 70, 120, 260, 525];
/** Bounds of times to the first token and of waits, seconds: from a warm cache to the first-token timeout. */
const secondsBounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 45];

export interface TurnTelemetryOptions {
  readonly metrics: MetricsRegistry;
  readonly log: Log;
  readonly usage: UsageQueue;
  readonly clock: Clock;
}

/** Counts and logs turns, and hands the usage of stateless ones to the database's queue. */
export function createTurnTelemetry(options: TurnTelemetryOptions): TurnObserver {
  const { clock, log, metrics, usage } = options;
  const turns = metrics.counter("meridian_turns_total", "Turns that ended.");
  const tokens = metrics.counter("meridian_tokens_total", "Tokens of ended turns.");
  const tries = metrics.counter(
    "meridian_shard_tries_total",
    "Dispatches to a shard, by how they ended.",
  );
  const selections = metrics.counter(
    "meridian_selections_total",
    "Choices of a shard, by their reason; those that found none among them.",
  );
  const continuations = metrics.counter(
    "meridian_continuations_total",
    "Begun answers that another shard went on with, by what the one before failed of.",
  );
  const waits = metrics.counter(
    "meridian_begun_waits_total",
    "Waits of begun answers for a shard that can go on, by reason: waiting when one begins, waitedOut when it ends in vain.",
  );
  const estimates = metrics.counter(
    "meridian_usage_estimated_total",
    "Whole answers without usage from their engine: billed by the cell's count of pieces and estimate of the prompt.",
  );
  const lostUsage = metrics.counter(
    "meridian_usage_lost_total",
    "Usage records that found the queue full.",
  );
  const ttft = metrics.histogram(
    "meridian_time_to_first_token_seconds",
    "From dispatch to the first token.",
    secondsBounds,
  );
  const queueWait = metrics.histogram(
    "meridian_queue_wait_seconds",
    "Wait for a shard.",
    secondsBounds,
  );

  const coldWait = metrics.histogram(
    "meridian_cold_wait_seconds",
    "Waits of turns for a shard to start.",
    coldBounds,
  );

  function countTokens(model: string, { usage: used }: TurnOutcome): void {
    tokens.add({ model, kind: "prompt" }, used.promptTokens);
    tokens.add({ model, kind: "cached" }, used.cachedTokens);
    tokens.add({ model, kind: "completion" }, used.completionTokens);
  }

  function recordUsage(request: TurnRequest, outcome: TurnOutcome): void {
    // The history of a durable turn carries its usage; a turn that never reached a shard has none.
    if (request.lane !== "stateless" || outcome.shard === null) return;
    // The cell that goes on counts the whole answer.
    if (outcome.mayMove) return;
    const { requestId, tenant, jurisdiction, turnId } = request;
    const isKept = usage.add({
      turnId,
      requestId,
      tenant,
      jurisdiction,
      model: request.engine.model,
      shard: outcome.shard,
      status: outcome.status,
      ...outcome.usage,
      createdAtMs: clock.nowMs(),
    });
    if (!isKept) lostUsage.add({});
  }

  return {
    decided(request, reply) {
      const { model } = request.engine;
      if (reply.kind === "none") {
        if (reply.reason === "cold") {
          const { requestId, tenant, turnId } = request;
          log("info", "cold_refused", { requestId, tenant, turnId, reason: reply.reason });
        }
        return selections.add({ reason: reply.reason });
      }
      if (reply.isColdWait === true) {
        const { requestId, tenant, turnId } = request;
        const { queueWaitMs, slot } = reply;
        coldWait.observe({ model }, queueWaitMs / 1_000);
        const about = { requestId, tenant, turnId, shard: slot.shard, reason: "coldStart" };
        log("info", "cold_waited", { ...about, queueWaitMs });
      }
      const { predicted, reason, runnersUp, score, shard } = reply.slot;
      selections.add({ reason });
      const { requestId, tenant, turnId } = request;
      log("debug", "shard_chosen", {
        requestId,
        tenant,
        turnId,
        shard,
        reason,
        score: rounded(score),
        predictedTtftMs: Math.round(predicted.ttftSeconds * 1_000),
        runnersUp: runnersUp.map((other) => `${other.id}=${rounded(other.score)}`).join(" "),
        count: reply.rejected.length,
      });
    },
    firstToken(request, state) {
      const { model } = request.engine;
      ttft.observe({ model }, (state.ttftMs ?? 0) / 1000);
      queueWait.observe({ model }, state.queueWaitMs / 1000);
    },
    continued(request, state) {
      const { requestId, tenant, turnId } = request;
      const reason = state.lastFailure?.reason ?? "cell";
      continuations.add({ model: request.engine.model, reason });
      const shard = state.shard === null ? {} : { shard: state.shard };
      log("warn", "turn_continued", { requestId, tenant, turnId, reason, ...shard });
    },
    waits(request, { reason }) {
      const { requestId, tenant, turnId } = request;
      waits.add({ model: request.engine.model, reason });
      log("warn", "begun_turn_waits", { requestId, tenant, turnId, reason });
    },
    estimated(request, shard) {
      estimates.add({ shard });
      const { requestId, tenant, turnId } = request;
      log("debug", "usage_estimated", { requestId, tenant, turnId, shard });
    },
    tryEnded(request, shard, result) {
      const reason = reasonOf(result);
      tries.add({ shard, result: reason });
      if (result.kind !== "failed") return;
      const { requestId, tenant, turnId } = request;
      log("warn", "shard_failed", { requestId, tenant, turnId, shard, reason });
    },
    ended(request, outcome) {
      const { lane, requestId, tenant, turnId, attempt } = request;
      const { model } = request.engine;
      const code = outcome.error?.code ?? "none";
      turns.add({ api: request.rendering.api, lane, status: outcome.status, code });
      countTokens(model, outcome);
      recordUsage(request, outcome);
      log(outcome.status === "failed" ? "warn" : "info", "turn_ended", {
        requestId,
        tenant,
        turnId,
        attempt,
        code,
        reason: outcome.status,
        durationMs: outcome.totalMs,
        queueWaitMs: outcome.queueWaitMs,
        promptTokens: outcome.usage.promptTokens,
        completionTokens: outcome.usage.completionTokens,
        cachedTokens: outcome.usage.cachedTokens,
        ...(outcome.shard === null ? {} : { shard: outcome.shard }),
        ...(outcome.ttftMs === null ? {} : { ttftMs: outcome.ttftMs }),
      });
    },
  };
}

/** Thousandths: scores that are closer say nothing. */
function rounded(score: number): number {
  return Math.round(score * 1_000) / 1_000;
}

function reasonOf(result: TryResult): string {
  if (result.kind !== "failed") return result.kind;
  const { failure } = result;
  return failure.reason === "invalid" ? `invalid_${failure.detail}` : failure.reason;
}
