import { breakerWeight, isAdmitting, stepBreaker, viewAt } from "#shared/breaker/breaker.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { errorRatioAt, observeTtft } from "#shared/routing/error-ratio.ts";
import { filterShard } from "#shared/routing/filter-shard.ts";
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
  readonly predictedSeconds: number;
  /** Predicted from the dispatch to the end of an answer of the expected length, seconds. */
  readonly predictedEndSeconds: number;
  readonly kvTokens: number;
  readonly workTokens: number;
  /** Uncached tokens whose first token is not there yet; 0 after it. */
  pendingTokens: number;
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
  /** Work of a prompt where most of it is cached, tokens. */
  workOf(prompt: PromptDemand, chunks: readonly number[]): number;
  /** The prompt's first token came. */
  started(dispatch: Dispatch, nowMs: number): void;
  /** The prompt left the shard. `release` says nothing of the shard's health. */
  ended(dispatch: Dispatch, kind: "success" | "failure" | "release", nowMs: number): void;
  /** The shard's memory is gone. */
  forget(shard: number): void;
}

export interface SimCellOptions {
  readonly shards: readonly SimShard[];
  readonly policy: PolicyEntry;
  readonly numbers: SelectionPolicy;
  readonly random: () => number;
}

/** Makes a cell that has seen nothing yet. */
export function createSimCell({ shards, policy, numbers, random }: SimCellOptions): SimCell {
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

  /** The states as the policy sees them: fresh, or as they were at the last look. */
  function view(nowMs: number): readonly ShardState[] {
    for (const { ailment, breaker, ratio, state } of shards) {
      if (policy.hasErrorRatio) state.errorRatio = errorRatioAt(ratio, nowMs);
      if (breaker.kind === "closed" && state.weight === 1 && state.isAdmitting) continue;
      // As the product: half open, no prompt is risked on a shard that does not even answer a probe.
      state.isAdmitting =
        isAdmitting(breaker, nowMs) &&
        (ailment !== "dead" || viewAt(breaker, nowMs).kind === "closed");
      state.weight = breakerWeight(breaker, nowMs, defaultBreakerPolicy);
    }
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
    workOf(prompt, chunks) {
      match(prompt, chunks);
      return workOf(
        prompt,
        matched.reduce((most, cached) => Math.max(most, cached), 0),
      );
    },
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
      const question = { shards: seen, eligible, cachedTokens: matched, prompt };
      const { index: chosen, reason } = picker.choose(question, random);
      const shard = shardAt(chosen);
      const { state } = shard;
      const cached = matched[chosen] ?? 0;
      const event = { kind: "dispatch" } as const;
      shard.breaker = stepBreaker(shard.breaker, event, nowMs, random, defaultBreakerPolicy).state;
      const predicted = predict({ ...state, errorRatio: 1 }, prompt, cached);
      const dispatch: Dispatch = {
        shard: chosen,
        atMs: nowMs,
        reason,
        predictedSeconds: predicted.ttftSeconds,
        predictedEndSeconds: predicted.ttftSeconds + prompt.outputTokens * predicted.itlSeconds,
        kvTokens: prompt.inputTokens + prompt.outputTokens,
        workTokens: workOf(prompt, cached),
        pendingTokens: uncachedTokens(prompt, cached),
        trips: shard.breaker.trips,
      };
      state.inFlight += 1;
      state.kvTokens += dispatch.kvTokens;
      state.pendingPrefillTokens += dispatch.pendingTokens;
      state.workTokens += dispatch.workTokens;
      if (shard.ailment === "none") index.insert(chosen, chunks);
      return dispatch;
    },
    started(dispatch, nowMs) {
      const shard = shardAt(dispatch.shard);
      shard.state.pendingPrefillTokens -= dispatch.pendingTokens;
      dispatch.pendingTokens = 0;
      const observed = (nowMs - dispatch.atMs) / 1_000;
      shard.ratio = observeTtft(shard.ratio, observed, dispatch.predictedSeconds, nowMs);
    },
    ended(dispatch, kind, nowMs) {
      const shard = shardAt(dispatch.shard);
      const { state } = shard;
      state.inFlight -= 1;
      state.kvTokens -= dispatch.kvTokens;
      state.pendingPrefillTokens -= dispatch.pendingTokens;
      state.workTokens -= dispatch.workTokens;
      const event = { kind, trips: dispatch.trips };
      shard.breaker = stepBreaker(shard.breaker, event, nowMs, random, defaultBreakerPolicy).state;
      if (shard.breaker.kind !== "closed") state.isAdmitting = isAdmitting(shard.breaker, nowMs);
    },
    forget: (shard) => index.clear(shard),
  };
}
