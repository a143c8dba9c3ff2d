import { breakerWeight, isAdmitting, stepBreaker, viewAt } from "#shared/breaker/breaker.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import type { BreakerState } from "#shared/breaker/breaker-state.ts";
import type { LifeSigns } from "#shared/breaker/life-signs.ts";
import { verdictOf } from "#shared/breaker/try-verdict.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import type { PredictedTry } from "#shared/overload/try-plan.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { errorRatioAt, failureSeconds, observeTtft } from "#shared/routing/error-ratio.ts";
import { filterShard } from "#shared/routing/filter-shard.ts";
import { foreignAt, reportWeight } from "#shared/routing/foreign-load.ts";
import { predict } from "#shared/routing/predict.ts";
import { createPrefixIndex } from "#shared/routing/prefix-index.ts";
import type { SelectionReason } from "#shared/routing/score-shard.ts";
import type { SelectionPolicy } from "#shared/routing/selection-policy.ts";
import { uncachedTokens, workOf } from "#shared/routing/shard-state.ts";
import type { PromptDemand, ShardState } from "#shared/routing/shard-state.ts";
import { chunkTokens } from "#dev/capacity/request-trace.ts";
import type { PolicyEntry } from "./policies/catalogue.ts";
import type { SimShard } from "./sim-shard.ts";

/** One prompt on one shard as the cell has counted it. */
export interface Dispatch {
  /** By position. */
  readonly shard: number;
  readonly atMs: number;
  readonly reason: SelectionReason;
  readonly predicted: Omit<PredictedTry, "outputTokensP90">;
  /** Before what was observed of the shard corrects it, seconds. */
  readonly basicTtftSeconds: number;
  readonly kvTokens: number;
  readonly workTokens: number;
  /** Uncached tokens whose first token is not there yet; 0 after it. */
  pendingTokens: number;
  /** When its first token came; null before. */
  firstAtMs: number | null;
  readonly trips: number;
}

/** The only dispatcher of a simulated cell: choosing and counting are one step, with the product's own decisions. */
export interface SimCell {
  /**
   * Chooses a shard and counts the prompt there. `full`: no shard has room for its class; `blocked`: those that it may use
   * have not, others might.
   */
  dispatch(
    prompt: PromptDemand,
    chunks: readonly number[],
    nowMs: number,
  ): Dispatch | "full" | "blocked";
  /** Whether some shard would take the prompt now. */
  hasRoom(prompt: PromptDemand, nowMs: number): boolean;
  /** Work of a prompt where most of it is cached, tokens. */
  workOf(prompt: PromptDemand, chunks: readonly number[]): number;
  /** The prompt's first token came. */
  started(dispatch: Dispatch, nowMs: number): void;
  /** The prompt left the shard. */
  ended(dispatch: Dispatch, result: TryResult, nowMs: number): void;
  /** The shard's memory is gone. */
  forget(shard: number): void;
  /** A health check or a synthetic prompt has told something of the shard. */
  lived(shard: number, signs: LifeSigns): void;
  /** The shards' states as of now. */
  refresh(nowMs: number): void;
}

export interface SimCellOptions {
  readonly shards: readonly SimShard[];
  readonly policy: PolicyEntry;
  readonly numbers: SelectionPolicy;
  readonly random: () => number;
  /** What answers leave of a shard's weight, 0..1. */
  readonly healthOf: (shard: ShardId) => number;
  readonly level: () => DegradationLevel;
}

/** Makes a cell that has seen nothing yet. */
export function createSimCell(options: SimCellOptions): SimCell {
  const { healthOf, level, numbers, policy, random, shards } = options;
  const picker = policy.make(numbers);
  const states = shards.map(({ state }) => state);
  const index = createPrefixIndex(
    states.map(({ kvTokensMax }) => Math.floor(kvTokensMax / chunkTokens)),
  );
  const matched: number[] = [];
  const eligible: number[] = [];
  let frozen: readonly ShardState[] = states;
  let frozenAtMs = -Infinity;

  function shardAt(at: number): SimShard {
    const shard = shards[at];
    if (shard === undefined) throw new RangeError(`shard ${at}: got none`);
    return shard;
  }

  function moveBreaker(at: number, breaker: BreakerState): void {
    const shard = shardAt(at);
    const wasOpen = shard.breaker.kind === "open";
    shard.breaker = breaker;
    // As the product: a shard that failed this often was most likely started again, with an empty cache.
    if (breaker.kind === "open" && !wasOpen) index.clear(at);
  }

  function refresh(nowMs: number): void {
    for (const shard of shards) {
      const { breaker, counted, isAlive, ratio, state } = shard;
      if (policy.hasErrorRatio) state.errorRatio = errorRatioAt(ratio, nowMs);
      const foreign = foreignAt(shard.foreign, nowMs);
      state.inFlight += foreign.inFlight - counted.inFlight;
      state.kvTokens += foreign.kvTokens - counted.kvTokens;
      shard.counted = foreign;
      // As the product: half open, no prompt is risked on a shard that does not even answer a probe.
      state.isAdmitting =
        isAdmitting(breaker, nowMs) && (isAlive || viewAt(breaker, nowMs).kind === "closed");
      state.weight =
        Math.min(breakerWeight(breaker, nowMs, defaultBreakerPolicy), healthOf(state.id)) *
        reportWeight(shard.foreign, nowMs);
    }
  }

  /** The states as the policy sees them: fresh, or as they were at the last look. */
  function view(nowMs: number): readonly ShardState[] {
    refresh(nowMs);
    if (policy.staleSeconds === 0) return states;
    if (nowMs - frozenAtMs >= policy.staleSeconds * 1_000) {
      frozen = states.map((state) => ({ ...state }));
      frozenAtMs = nowMs;
    }
    return frozen;
  }

  /** Tokens of the prompt that each shard is thought to hold. */
  function match({ inputTokens }: PromptDemand, chunks: readonly number[]): void {
    index.match(chunks, matched);
    for (let at = 0; at < matched.length; at += 1)
      matched[at] = Math.min(inputTokens - 1, (matched[at] ?? 0) * chunkTokens);
  }

  return {
    refresh,
    workOf(prompt, chunks) {
      match(prompt, chunks);
      return workOf(
        prompt,
        matched.reduce((most, cached) => Math.max(most, cached), 0),
      );
    },
    hasRoom: (prompt, nowMs) =>
      view(nowMs).some((state) => filterShard(state, prompt, numbers) === null),
    dispatch(prompt, chunks, nowMs) {
      const seen = view(nowMs);
      eligible.length = 0;
      let mayOthers = false;
      for (let at = 0; at < seen.length; at += 1) {
        const state = seen[at];
        if (state === undefined) continue;
        const reason = filterShard(state, prompt, numbers);
        if (reason === null) eligible.push(at);
        else if (reason === "context" || reason === "excluded") mayOthers = true;
      }
      if (eligible.length === 0) return mayOthers ? "blocked" : "full";
      match(prompt, chunks);
      const question = {
        shards: seen,
        eligible,
        cachedTokens: matched,
        prompt,
        level: level(),
      };
      const { index: chosen, reason } = picker.choose(question, random);
      const shard = shardAt(chosen);
      const { state } = shard;
      const cached = matched[chosen] ?? 0;
      const event = { kind: "dispatch" } as const;
      shard.breaker = stepBreaker(shard.breaker, event, nowMs, random, defaultBreakerPolicy).state;
      const { itlSeconds, ttftSeconds } = predict(state, prompt, cached);
      const dispatch: Dispatch = {
        shard: chosen,
        atMs: nowMs,
        reason,
        predicted: {
          ttftSeconds,
          interTokenSeconds: itlSeconds,
          outputTokens: prompt.outputTokens,
        },
        basicTtftSeconds: predict({ ...state, errorRatio: 1 }, prompt, cached).ttftSeconds,
        kvTokens: prompt.inputTokens + prompt.outputTokens,
        workTokens: workOf(prompt, cached),
        pendingTokens: uncachedTokens(prompt, cached),
        firstAtMs: null,
        trips: shard.breaker.trips,
      };
      state.inFlight += 1;
      state.kvTokens += dispatch.kvTokens;
      state.pendingPrefillTokens += dispatch.pendingTokens;
      state.workTokens += dispatch.workTokens;
      if (shard.ailment !== "dead" && shard.ailment !== "failing") index.insert(chosen, chunks);
      return dispatch;
    },
    started(dispatch, nowMs) {
      const shard = shardAt(dispatch.shard);
      shard.state.pendingPrefillTokens -= dispatch.pendingTokens;
      dispatch.pendingTokens = 0;
      dispatch.firstAtMs = nowMs;
      const observed = (nowMs - dispatch.atMs) / 1_000;
      shard.ratio = observeTtft(shard.ratio, observed, dispatch.basicTtftSeconds, nowMs);
    },
    ended(dispatch, result, nowMs) {
      const shard = shardAt(dispatch.shard);
      const { state } = shard;
      const kind = verdictOf(result);
      state.inFlight -= 1;
      state.kvTokens -= dispatch.kvTokens;
      state.pendingPrefillTokens -= dispatch.pendingTokens;
      state.workTokens -= dispatch.workTokens;
      // A shard that fails fast would otherwise look quick and draw all prompts.
      if (kind === "failure" && dispatch.firstAtMs === null)
        shard.ratio = observeTtft(shard.ratio, failureSeconds, dispatch.basicTtftSeconds, nowMs);
      const event = { kind, trips: dispatch.trips };
      const step = stepBreaker(shard.breaker, event, nowMs, random, defaultBreakerPolicy);
      moveBreaker(dispatch.shard, step.state);
      if (kind === "success") shard.isAlive = true;
      if (shard.breaker.kind !== "closed") state.isAdmitting = isAdmitting(shard.breaker, nowMs);
    },
    forget: (shard) => index.clear(shard),
    lived(at, { breaker, isAlive, wasGone }) {
      Object.assign(shardAt(at), { isAlive, wasGone });
      moveBreaker(at, breaker);
    },
  };
}
