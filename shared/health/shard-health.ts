import { newAnswerQuality, observeAnswer, qualityWeight } from "./answer-quality.ts";
import type { AnswerQuality, AnswerTraits } from "./answer-quality.ts";
import { isQuarantined, newCanaryBoard, observeCanary, withReference } from "./canary.ts";
import type { CanaryAnswer, CanaryBoard, CanaryVerdict } from "./canary.ts";
import { capEjections } from "./cap-ejections.ts";
import { defaultHealthPolicy } from "./health-policy.ts";
import type { HealthPolicy } from "./health-policy.ts";
import { findOutliers } from "./outliers.ts";
import { newSpeedWatch, observeSpeed, slownessOf, speedWeight } from "./speed-watch.ts";
import type { SpeedWatch } from "./speed-watch.ts";
import type { ShardDescription } from "../config/topology.ts";
import type { ShardId } from "../residency/brands.ts";

/** What of a shard its health is judged by. */
export type HealthSubject = Pick<
  ShardDescription,
  "id" | "model" | "revision" | "concurrentRequestsMax"
>;

/** How an answer of a shard ended, as health sees it; none of its content. */
export interface AnswerEnd {
  readonly isSuccess: boolean;
  /** Null where the answer has no speed: one token, or a failure before the second. */
  readonly secondsPerToken: number | null;
  /** Sequences that ran on the shard, its own included. */
  readonly batch: number;
  /** Null where there is no answer to judge. */
  readonly traits: AnswerTraits | null;
}

/** What takes weight from a shard, beside its breaker. */
export type HealthSignal = "speed" | "quality" | "outlier" | "canary";

/** A shard as health sees it. */
export interface ShardVerdict {
  readonly id: ShardId;
  /** 0..1. */
  readonly weight: number;
  /** The signal that gives the weight; null at 1. */
  readonly signal: HealthSignal | null;
}

/** The health of a cell's shards. Weights, not switches; what takes too much capacity out is capped. */
export interface ShardHealth {
  /** 0..1, as of the last tick. */
  weightOf(shard: ShardId): number;
  answered(shard: ShardId, end: AnswerEnd, nowMs: number): void;
  /** @param answer null: there was none. */
  canaried(shard: ShardId, prompt: number, answer: CanaryAnswer | null): CanaryVerdict;
  /** The recorded answer of shards of this one's model and revision; null: none yet. */
  referenceOf(shard: ShardId, prompt: number): CanaryAnswer | null;
  /** Takes a recorded answer from before this run over, where this one has none. */
  remember(shard: ShardId, prompt: number, answer: CanaryAnswer): void;
  /** Weighs all shards anew; once a second. */
  tick(nowMs: number): void;
  verdicts(): readonly ShardVerdict[];
}

export interface ShardHealthOptions {
  readonly shards: readonly HealthSubject[];
  readonly policy?: HealthPolicy;
  /** A shard's weight has become 0, or is more than 0 again. */
  readonly onChange: (verdict: ShardVerdict) => void;
}

interface Watched {
  readonly description: HealthSubject;
  speed: SpeedWatch;
  quality: AnswerQuality;
  successes: number;
  failures: number;
  outUntilMs: number;
  outCount: number;
  verdict: ShardVerdict;
}

/** The health of one cell's shards; all of them whole at first. */
export function createShardHealth(options: ShardHealthOptions): ShardHealth {
  const { onChange, policy = defaultHealthPolicy } = options;
  const watched = new Map<ShardId, Watched>(
    options.shards.map((description) => [
      description.id,
      {
        description,
        speed: newSpeedWatch,
        quality: newAnswerQuality,
        successes: 0,
        failures: 0,
        outUntilMs: 0,
        outCount: 0,
        verdict: { id: description.id, weight: 1, signal: null },
      },
    ]),
  );
  const boards = new Map<string, CanaryBoard>();
  const groups = [...new Set(options.shards.map(({ model }) => model))].map((model) =>
    [...watched.values()].filter(({ description }) => description.model === model),
  );
  let countedFromMs: number | null = null;

  /** Answers of another revision are no answers of this one. */
  function boardKey({ model, revision }: HealthSubject): string {
    return `${model}@${revision}`;
  }

  function sweepOutliers(group: readonly Watched[], nowMs: number): void {
    const counts = group.map(({ description, failures, successes }) => ({
      id: description.id,
      successes,
      failures,
    }));
    const found = new Set(findOutliers(counts, policy));
    for (const shard of group) {
      shard.successes = 0;
      shard.failures = 0;
      if (!found.has(shard.description.id)) continue;
      shard.outCount += 1;
      shard.outUntilMs = nowMs + policy.outlierMs * shard.outCount;
    }
  }

  /** What each signal gives the shard, worst first. */
  function signalsOf(shard: Watched, group: readonly Watched[], nowMs: number) {
    const others = group.filter((other) => other !== shard);
    const slowness = slownessOf(shard.speed, nowMs, policy);
    const commonOf = others.map((other) => slownessOf(other.speed, nowMs, policy));
    const qualities = others.map(({ quality }) => quality);
    const signals: readonly (readonly [HealthSignal, number])[] = [
      ["speed", speedWeight(slowness, commonOf, policy)],
      ["quality", qualityWeight(shard.quality, qualities, nowMs, policy)],
      ["outlier", nowMs < shard.outUntilMs ? 0 : 1],
    ];
    return signals.toSorted(([, left], [, right]) => left - right);
  }

  function weigh(group: readonly Watched[], nowMs: number): void {
    const found = group.map((shard) => {
      const [worst] = signalsOf(shard, group, nowMs);
      const [signal, weight] = worst ?? ["speed", 1];
      const { concurrentRequestsMax: capacity, id } = shard.description;
      const board = boards.get(boardKey(shard.description)) ?? newCanaryBoard;
      return { shard, signal, soft: { id, capacity, weight }, isWrong: isQuarantined(board, id) };
    });
    const soft = capEjections(
      found.map((one) => one.soft),
      policy.softCapacityMax,
      policy.cappedWeight,
    );
    const wrong = capEjections(
      found.map(({ isWrong, soft: { capacity, id } }) => ({
        id,
        capacity,
        weight: isWrong ? 0 : 1,
      })),
      policy.quarantinedCapacityMax,
      policy.cappedWeight,
    );
    for (const { shard, signal } of found) {
      const { id } = shard.description;
      const softWeight = soft.get(id) ?? 1;
      const wrongWeight = wrong.get(id) ?? 1;
      const weight = Math.min(softWeight, wrongWeight);
      const before = shard.verdict;
      const cause = wrongWeight <= softWeight && wrongWeight < 1 ? "canary" : signal;
      shard.verdict = { id, weight, signal: weight < 1 ? cause : null };
      if (before.weight > 0 !== weight > 0) onChange(shard.verdict);
    }
  }

  return {
    weightOf: (shard) => watched.get(shard)?.verdict.weight ?? 1,
    answered(id, { batch, isSuccess, secondsPerToken, traits }, nowMs) {
      const shard = watched.get(id);
      if (shard === undefined) return;
      if (isSuccess) shard.successes += 1;
      else shard.failures += 1;
      if (traits !== null) shard.quality = observeAnswer(shard.quality, traits, nowMs, policy);
      if (secondsPerToken !== null && isSuccess) {
        shard.speed = observeSpeed(shard.speed, secondsPerToken, batch, nowMs, policy);
      }
    },
    canaried(id, prompt, answer) {
      const shard = watched.get(id);
      if (shard === undefined) return "unknown";
      const key = boardKey(shard.description);
      const { board, verdict } = observeCanary(
        boards.get(key) ?? newCanaryBoard,
        id,
        prompt,
        answer,
      );
      boards.set(key, board);
      return verdict;
    },
    referenceOf(id, prompt) {
      const shard = watched.get(id);
      if (shard === undefined) return null;
      return boards.get(boardKey(shard.description))?.references.get(prompt) ?? null;
    },
    remember(id, prompt, answer) {
      const shard = watched.get(id);
      if (shard === undefined) return;
      const key = boardKey(shard.description);
      boards.set(key, withReference(boards.get(key) ?? newCanaryBoard, prompt, answer));
    },
    tick(nowMs) {
      countedFromMs ??= nowMs;
      const isSweep = nowMs - countedFromMs >= policy.outlierWindowMs;
      if (isSweep) countedFromMs = nowMs;
      for (const group of groups) {
        if (isSweep) sweepOutliers(group, nowMs);
        weigh(group, nowMs);
      }
    },
    verdicts: () => [...watched.values()].map(({ verdict }) => verdict),
  };
}
