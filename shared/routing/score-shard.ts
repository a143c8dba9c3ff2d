import { invariant } from "../errors/invariant.ts";
import type { ShardId } from "../residency/brands.ts";
import { filterShard } from "./filter-shard.ts";
import type { FilterReason } from "./filter-shard.ts";
import { hash64, unitOf } from "./hash.ts";
import { predict } from "./predict.ts";
import type { Prediction } from "./predict.ts";
import type { SelectionPolicy } from "./selection-policy.ts";
import { uncachedTokens, workOf } from "./shard-state.ts";
import type { PromptDemand, ShardState } from "./shard-state.ts";

/** A shard that could take the prompt, with what is predicted for it. `score` is in promised times to first token; less is better. */
export interface ScoredShard {
  readonly id: ShardId;
  /** Position among the candidates. */
  readonly index: number;
  readonly score: number;
  readonly prediction: Prediction;
  readonly isWithinBound: boolean;
}

/**
 * Why a shard was chosen. `spill`: the conversation's home could take it, but later than this one, or has no room just now;
 * `rehome`: it may not be used.
 */
export type SelectionReason = "home" | "best" | "affinity" | "chance" | "spill" | "rehome";

/** A shard with its reason and the next best three, or why there is none. */
export type Selection =
  | {
      readonly kind: "chosen";
      readonly chosen: ScoredShard;
      readonly reason: SelectionReason;
      /** The conversation's home as it was scored; null when it was not. */
      readonly home: ScoredShard | null;
      /** The next best, at most three. */
      readonly runnersUp: readonly ScoredShard[];
      readonly rejected: readonly RejectedShard[];
    }
  | {
      readonly kind: "none";
      /** `full`: waiting helps; `cold`: none runs, some could; `unhealthy`: there are shards, none may be used now; `noShard`: none fits. */
      readonly reason: "full" | "cold" | "unhealthy" | "noShard";
      readonly rejected: readonly RejectedShard[];
    };

/** A shard that a filter took out. */
export interface RejectedShard {
  readonly id: ShardId;
  readonly reason: FilterReason;
}

/** What a selection reads. */
export interface SelectionInput {
  /** The shards of the cell. */
  readonly candidates: readonly ShardState[];
  /** Tokens of the prompt that each candidate is thought to hold, by position; missing ones hold none. */
  readonly cachedTokens: ArrayLike<number>;
  readonly prompt: PromptDemand;
}

const runnersUpMax = 3;
/** Rejections that time can end. */
const passing: ReadonlySet<FilterReason> = new Set(["draining", "breaker", "unhealthy"]);

/**
 * Selects a shard: filters, then `(ttft + 2*displaced)/SLO + itl/SLO + w*cost + 0.3*risk` for each, then the load bound (all
 * over it: none is), then the home while it is within the margin, then the least; near-ties go to the affinity key's first by weighted
 * rendezvous, or to the lot. Deterministic given `random`, which is read only for near-ties without a key. The caller counts
 * the chosen shard in the same synchronous step. A shard of another jurisdiction is never in the caller's list; if one is, it
 * is filtered here as well. O(n) for n candidates.
 */
export function selectShard(
  input: SelectionInput,
  random: () => number,
  policy: SelectionPolicy,
): Selection {
  const { candidates, prompt } = input;
  const eligible: number[] = [];
  const rejected: RejectedShard[] = [];
  let isFull = false;
  let isCold = false;
  let isUnhealthy = false;
  for (let index = 0; index < candidates.length; index += 1) {
    const state = candidates[index];
    if (state === undefined) continue;
    const reason = filterShard(state, prompt, policy);
    if (reason === null) {
      eligible.push(index);
      continue;
    }
    rejected.push({ id: state.id, reason });
    if (reason === "ceiling") isFull = true;
    else if (reason === "cold") isCold = true;
    else if (passing.has(reason)) isUnhealthy = true;
  }
  if (eligible.length === 0) {
    const reason = isFull ? "full" : isCold ? "cold" : isUnhealthy ? "unhealthy" : "noShard";
    return { kind: "none", reason, rejected };
  }
  const load = loadOf(input, eligible);
  const considered = eligible.length <= policy.scoredMax ? eligible : shortlist(input, eligible);
  const scored: ScoredShard[] = [];
  for (const index of considered) {
    const state = candidates[index];
    if (state !== undefined) scored.push(score(input, state, index, load, policy));
  }
  const anyWithin = scored.some(({ isWithinBound }) => isWithinBound);
  const choosable = anyWithin ? scored.filter(({ isWithinBound }) => isWithinBound) : scored;
  const best = least(choosable);
  invariant(best !== null, "a shard that passed the filters is scored");
  const home = scored.find(({ id }) => id === input.prompt.homeShard) ?? null;
  const isHomeFull = rejected.some(
    ({ id, reason: why }) => id === input.prompt.homeShard && why === "ceiling",
  );
  const { chosen, reason } = pick(
    input,
    choosable,
    best,
    home !== null || isHomeFull,
    random,
    policy,
  );
  invariant(
    candidates[chosen.index]?.jurisdiction === prompt.jurisdiction,
    "a chosen shard is one of the jurisdiction",
  );
  return { kind: "chosen", chosen, reason, home, runnersUp: nextBest(scored, chosen), rejected };
}

interface Load {
  readonly workTokens: number;
  readonly capacity: number;
  /** Prefill of one shard on average, health aside. */
  readonly meanTokensPerSecond: number;
}

/** What a shard can do, for its share of the work: speed × replicas × health. */
function capacityOf(state: ShardState): number {
  return state.replicas * state.speed.prefillTokensPerSecond * Math.min(1, state.weight);
}

function loadOf({ candidates }: SelectionInput, eligible: readonly number[]): Load {
  let workTokens = 0;
  let capacity = 0;
  let tokensPerSecond = 0;
  for (const index of eligible) {
    const state = candidates[index];
    if (state === undefined) continue;
    workTokens += state.workTokens;
    capacity += capacityOf(state);
    tokensPerSecond += state.replicas * state.speed.prefillTokensPerSecond;
  }
  return { workTokens, capacity, meanTokensPerSecond: tokensPerSecond / eligible.length };
}

function score(
  { cachedTokens, prompt }: SelectionInput,
  state: ShardState,
  index: number,
  load: Load,
  policy: SelectionPolicy,
): ScoredShard {
  const cached = cachedTokens[index] ?? 0;
  const prediction = predict(state, prompt, cached);
  const uncached = uncachedTokens(prompt, cached);
  const costUsd =
    (uncached * state.usdPerMillionInputTokens +
      prompt.outputTokens * state.usdPerMillionOutputTokens) /
    1e6;
  const displacedSeconds = uncached / load.meanTokensPerSecond;
  const value =
    (prediction.ttftSeconds + policy.displacementWeight * displacedSeconds) /
      policy.ttftSloSeconds[prompt.priority] +
    (policy.itlWeight * prediction.itlSeconds) / policy.itlSloSeconds +
    (policy.costWeights[prompt.priority] * costUsd) / policy.costReferenceUsd +
    policy.riskWeight * (1 - Math.min(1, state.weight));
  const share = capacityOf(state) / load.capacity;
  const workTokens = load.workTokens + workOf(prompt, cached);
  const isWithinBound =
    state.workTokens <=
    Math.max(
      policy.loadBoundFreeSeconds * capacityOf(state),
      (1 + policy.loadBound) * workTokens * share,
    );
  return { id: state.id, index, score: value, prediction, isWithinBound };
}

function least(scored: readonly ScoredShard[]): ScoredShard | null {
  let best: ScoredShard | null = null;
  for (const one of scored) if (best === null || one.score < best.score) best = one;
  return best;
}

interface Pick {
  readonly chosen: ScoredShard;
  readonly reason: SelectionReason;
}

function pick(
  { candidates, prompt }: SelectionInput,
  choosable: readonly ScoredShard[],
  best: ScoredShard,
  mayUseHome: boolean,
  random: () => number,
  policy: SelectionPolicy,
): Pick {
  const { homeShard } = prompt;
  if (homeShard !== null) {
    const home = choosable.find(({ id }) => id === homeShard);
    if (home !== undefined && home.score - best.score <= policy.homeMargin)
      return { chosen: home, reason: "home" };
    return { chosen: best, reason: mayUseHome ? "spill" : "rehome" };
  }
  const near = choosable.filter(({ score: value }) => value <= best.score + policy.tieMargin);
  if (near.length === 1) return { chosen: best, reason: "best" };
  if (prompt.affinityKey === "") {
    const drawn = near[Math.min(near.length - 1, Math.floor(random() * near.length))];
    return { chosen: drawn ?? best, reason: "chance" };
  }
  const key = hash64(prompt.affinityKey);
  const chosen = near.reduce((left, right) =>
    rendezvousOf(candidates, right.index, key) > rendezvousOf(candidates, left.index, key)
      ? right
      : left,
  );
  return { chosen, reason: "affinity" };
}

/** Weighted rendezvous `-w / ln h` (Schindelhauer and Schomaker 2005). */
function rendezvousOf(
  candidates: readonly ShardState[],
  index: number,
  key: ReturnType<typeof hash64>,
): number {
  const state = candidates[index];
  return state === undefined ? 0 : -capacityOf(state) / Math.log(unitOf(hash64(state.id, key)));
}

/** Of many shards those worth scoring: the home, the warmest, the key's first two, and the emptiest for its capacity. */
function shortlist(
  { candidates, cachedTokens, prompt }: SelectionInput,
  eligible: readonly number[],
): readonly number[] {
  const key = prompt.affinityKey === "" ? null : hash64(prompt.affinityKey);
  let [home, warmest, first, second, emptiest] = [-1, -1, -1, -1, -1];
  let [warmth, firstScore, secondScore, emptiness] = [0, 0, 0, Infinity];
  for (const index of eligible) {
    const state = candidates[index];
    if (state === undefined) continue;
    if (state.id === prompt.homeShard) home = index;
    const cached = cachedTokens[index] ?? 0;
    if (cached > warmth) [warmest, warmth] = [index, cached];
    const load = (state.workTokens + 1) / capacityOf(state);
    if (load < emptiness) [emptiest, emptiness] = [index, load];
    if (key === null) continue;
    const value = rendezvousOf(candidates, index, key);
    if (value > firstScore) {
      [second, secondScore] = [first, firstScore];
      [first, firstScore] = [index, value];
    } else if (value > secondScore) [second, secondScore] = [index, value];
  }
  return [...new Set([home, warmest, first, second, emptiest])].filter((index) => index >= 0);
}

function nextBest(scored: readonly ScoredShard[], chosen: ScoredShard): readonly ScoredShard[] {
  const kept: ScoredShard[] = [];
  for (const one of scored) {
    if (one === chosen) continue;
    const at = kept.findIndex(({ score: value }) => one.score < value);
    if (at >= 0) kept.splice(at, 0, one);
    else if (kept.length < runnersUpMax) kept.push(one);
    if (kept.length > runnersUpMax) kept.pop();
  }
  return kept;
}
