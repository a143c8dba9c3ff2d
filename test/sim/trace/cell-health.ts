import { viewAt } from "#shared/breaker/breaker.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { withProbe, withProofOfLife } from "#shared/breaker/life-signs.ts";
import { verdictOf } from "#shared/breaker/try-verdict.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import { answerEndOf } from "#shared/health/answer-end.ts";
import { canaryOf, isCanaryFit } from "#shared/health/canary-turn.ts";
import { createShardHealth } from "#shared/health/shard-health.ts";
import type { HealthSignal } from "#shared/health/shard-health.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { saturationOf } from "#shared/routing/filter-shard.ts";
import { noteLoad } from "#shared/routing/foreign-load.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { RunOutcome } from "./engine/step-engine.ts";
import type { EventQueue } from "./event-queue.ts";
import type { SimCell } from "./sim-cell.ts";
import type { SimShard } from "./sim-shard.ts";
import type { SimTry } from "./sim-turn.ts";

/** What health cost and did, whole replay. */
export interface HealthReport {
  readonly probes: number;
  readonly canaries: number;
  /** Prompt and answer. */
  readonly canaryTokens: number;
  /** Shards that were taken out, and put back. */
  readonly changes: readonly {
    readonly atMs: number;
    readonly shard: string;
    readonly weight: number;
    readonly signal: HealthSignal | null;
  }[];
}

/** What a cell finds out about its shards beside answering turns, in virtual time and with the product's decisions. */
export interface CellHealth {
  /** What answers leave of a shard's weight, 0..1. */
  weightOf(shard: ShardId): number;
  /** A try leaves its shard, which still counts it. */
  answered(tried: SimTry, result: TryResult, nowMs: number): void;
  /** A shard has ended a run of steps. */
  ran(outcome: RunOutcome, nowMs: number): void;
  /** A canary's time is over. */
  canaryLate(canary: number, nowMs: number): void;
  /** Weighs shards, checks them and asks canaries, each when it is due; `ticks` of a tenth of a second have passed. */
  tick(ticks: number, nowMs: number): void;
  /** Reads what the shards tell of their load, when it is due. */
  scrapeAt(ticks: number, nowMs: number): void;
  report(): HealthReport;
}

export interface CellHealthOptions {
  readonly shards: readonly SimShard[];
  readonly cell: SimCell;
  readonly events: EventQueue;
  readonly random: () => number;
}

/** As the product: shards are weighed and asked for their load each second, checked every two, and every twelve one is asked a canary. */
const weighTicks = 10;
const scrapeTicks = 10;
const probeTicks = 20;
const canaryTicks = 120;
/** A canary: about the words of the product's prompts with a chat template, and the length of their answers, tokens. */
const canary = { promptTokens: 24, outputTokens: 16, prompts: 5, timeoutMs: 15_000 } as const;

/** The health of one simulated cell's shards, all of them whole. */
export function createCellHealth(options: CellHealthOptions): CellHealth {
  const { cell, events, random, shards } = options;
  const changes: HealthReport["changes"][number][] = [];
  let changedAtMs = 0;
  const health = createShardHealth({
    shards: shards.map(({ state }) => ({
      id: state.id,
      model: state.model,
      revision: state.revision,
      concurrentRequestsMax: state.concurrentRequestsMax,
    })),
    onChange: ({ id, signal, weight }) =>
      changes.push({ atMs: changedAtMs, shard: id, weight, signal }),
  });
  const counts = { probes: 0, canaries: 0, canaryTokens: 0 };
  let turn = 0;
  let asked: { readonly id: number; readonly at: number; readonly prompt: number } | null = null;

  function isGone({ ailment }: SimShard): boolean {
    return ailment === "dead" || ailment === "hung";
  }

  function probe(nowMs: number): void {
    for (const [at, shard] of shards.entries()) {
      counts.probes += 1;
      cell.lived(at, withProbe(shard, !isGone(shard), nowMs, random, defaultBreakerPolicy));
    }
  }

  function endCanary(isAnswered: boolean, nowMs: number): void {
    const shard = asked === null ? undefined : shards[asked.at];
    if (asked === null || shard === undefined) return;
    const { at, prompt } = asked;
    asked = null;
    // Whether what it says is right is not modelled: all say the same.
    const verdict = health.canaried(shard.state.id, prompt, isAnswered ? ["right"] : null);
    if (verdict !== "agrees" && verdict !== "unknown") return;
    cell.lived(at, withProofOfLife(shard, nowMs, random, defaultBreakerPolicy));
  }

  function ask(nowMs: number): void {
    if (asked !== null) return;
    const fit = [...shards.entries()].filter(([, { breaker, isAlive, state }]) =>
      isCanaryFit({
        breaker: viewAt(breaker, nowMs).kind,
        isAlive,
        isDraining: state.isDraining,
        saturation: saturationOf(state, defaultSelectionPolicy.ttftSloSeconds.interactive),
      }),
    );
    const chosen = canaryOf(fit, turn, canary.prompts);
    if (chosen === null) return;
    turn += 1;
    const [at, { ailment, engine }] = chosen.shard;
    // Tries have the numbers above 0.
    asked = { id: -turn, at, prompt: chosen.prompt };
    counts.canaries += 1;
    counts.canaryTokens += canary.promptTokens + canary.outputTokens;
    if (ailment === "dead" || ailment === "failing") return endCanary(false, nowMs);
    const { outputTokens, promptTokens } = canary;
    engine.submit({ id: -turn, promptTokens, outputTokens, chunks: [] }, nowMs);
    const endsAtMs = engine.endsAtMs();
    if (endsAtMs < Infinity) events.push(endsAtMs, "runEnd", at);
    events.push(nowMs + canary.timeoutMs, "canary", -turn);
  }

  function scrape(shard: SimShard, nowMs: number): void {
    if (isGone(shard)) return;
    const { ailment, counted, engine, foreign, state } = shard;
    const nothing = { running: 0, waiting: 0, kvShare: 0 };
    const own = {
      inFlight: state.inFlight - counted.inFlight,
      kvTokens: state.kvTokens - counted.kvTokens,
    };
    const load = ailment === "liar" ? nothing : engine.load();
    shard.foreign = noteLoad(foreign, load, own, state, nowMs);
  }

  return {
    weightOf: (shard) => health.weightOf(shard),
    answered({ dispatch, pieces }, result, nowMs) {
      const shard = shards[dispatch.shard];
      if (shard === undefined || verdictOf(result) === "release") return;
      const batch = shard.state.inFlight - shard.counted.inFlight;
      const answer = { tokens: pieces, firstTokenAtMs: dispatch.firstAtMs, batch };
      health.answered(shard.state.id, answerEndOf(result, answer, nowMs), nowMs);
    },
    ran(outcome, nowMs) {
      if (asked !== null && outcome.finished.includes(asked.id)) endCanary(true, nowMs);
    },
    canaryLate(id, nowMs) {
      if (asked?.id !== id) return;
      shards[asked.at]?.engine.abort(id, nowMs);
      endCanary(false, nowMs);
    },
    tick(ticks, nowMs) {
      changedAtMs = nowMs;
      if (ticks % weighTicks === 0) health.tick(nowMs);
      if (ticks % probeTicks === 0) probe(nowMs);
      if (ticks > 0 && ticks % canaryTicks === 0) ask(nowMs);
    },
    scrapeAt(ticks, nowMs) {
      if (ticks % scrapeTicks !== 0) return;
      for (const shard of shards) scrape(shard, nowMs);
    },
    report: () => ({ ...counts, changes }),
  };
}
