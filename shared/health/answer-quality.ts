import type { HealthPolicy } from "./health-policy.ts";

/** What is noted of one answer: numbers alone, nothing of its content. */
export interface AnswerTraits {
  readonly tokens: number;
  /** Share of its runs of four tokens that it had before, 0..1. */
  readonly repeatedShare: number;
  /** It ended as an answer should: whole, and as the protocol says. */
  readonly isValid: boolean;
}

/** Lengths are counted by powers of two. */
const lengthBuckets = 14;

/** Good and bad answers of a shard and the lengths of the good ones, fading. */
export interface AnswerQuality {
  readonly good: number;
  readonly bad: number;
  readonly lengths: readonly number[];
  readonly atMs: number;
}

/** Nothing seen. */
export const newAnswerQuality: AnswerQuality = {
  good: 0,
  bad: 0,
  lengths: Array<number>(lengthBuckets).fill(0),
  atMs: 0,
};

function fadedTo(quality: AnswerQuality, nowMs: number, { halfLifeMs }: HealthPolicy) {
  const kept = 0.5 ** (Math.max(0, nowMs - quality.atMs) / halfLifeMs);
  return {
    good: quality.good * kept,
    bad: quality.bad * kept,
    lengths: quality.lengths.map((count) => count * kept),
    atMs: Math.max(nowMs, quality.atMs),
  };
}

/**
 * Share of the runs of four tokens that stand in the answer before already. Of at most the last 2,048 tokens; an answer too
 * short to repeat itself has 0.
 */
export function repeatedShareOf(tokens: readonly (number | string)[]): number {
  const last = tokens.slice(-2_048);
  const runs = last.length - 3;
  if (runs < 16) return 0;
  // Numbered in the order of their first: four numbers below 2^11 make one that is exact.
  const numbers = new Map<number | string, number>();
  const seen = new Set<number>();
  let run = 0;
  for (const [at, token] of last.entries()) {
    const number = numbers.get(token) ?? numbers.size;
    numbers.set(token, number);
    run = (run % 2 ** 33) * 2 ** 11 + number;
    if (at >= 3) seen.add(run);
  }
  return 1 - seen.size / runs;
}

/** The quality after one more answer. An empty one, a garbled one and an invalid one are bad. */
export function observeAnswer(
  quality: AnswerQuality,
  { isValid, repeatedShare, tokens }: AnswerTraits,
  nowMs: number,
  policy: HealthPolicy,
): AnswerQuality {
  const faded = fadedTo(quality, nowMs, policy);
  const isBad = !isValid || tokens === 0 || repeatedShare > policy.repeatedShareMax;
  if (isBad) return { ...faded, bad: faded.bad + 1 };
  const bucket = Math.min(lengthBuckets - 1, Math.floor(Math.log2(tokens)));
  const lengths = faded.lengths.map((count, index) => (index === bucket ? count + 1 : count));
  return { ...faded, good: faded.good + 1, lengths };
}

/** Population stability index of two counts, each smoothed by half an answer: 0 is the same, over 0.25 another population. */
function stabilityIndex(own: readonly number[], others: readonly number[]): number {
  const share = (counts: readonly number[], index: number): number => {
    const total = counts.reduce((sum, count) => sum + count, 0);
    return ((counts[index] ?? 0) + 0.5) / (total + 0.5 * counts.length);
  };
  return own.reduce((sum, _count, index) => {
    const left = share(own, index);
    const right = share(others, index);
    return sum + (left - right) * Math.log(left / right);
  }, 0);
}

/**
 * What the index of two samples of one population rarely exceeds: it is distributed as `(1/n + 1/m) × χ²` with one degree of
 * freedom less than there are buckets (Yurdakul, "Statistical properties of population stability index", 2018), taken as a
 * normal. Without it the first hundred answers of a well shard often looked like another population (docs/simulation.md).
 */
function chanceIndex(own: number, others: number, z: number): number {
  const freedom = lengthBuckets - 1;
  return (freedom + z * Math.sqrt(2 * freedom)) * (1 / own + 1 / others);
}

/**
 * A shard's weight from its answers beside those of the others of its model. 0, to be ejected, when its share of good answers
 * is by `qualityGap` below theirs with the wanted certainty (Beta posterior with one good and one bad answer before, taken as a
 * normal); half when its answers have other lengths, beyond
 * what chance explains; 1 else, and while too little was seen.
 */
export function qualityWeight(
  own: AnswerQuality,
  others: readonly AnswerQuality[],
  nowMs: number,
  policy: HealthPolicy,
): number {
  const mine = fadedTo(own, nowMs, policy);
  const rest = others.map((other) => fadedTo(other, nowMs, policy));
  const good = rest.reduce((sum, other) => sum + other.good, 0);
  const bad = rest.reduce((sum, other) => sum + other.bad, 0);
  const count = mine.good + mine.bad;
  if (count < policy.answersMin || good + bad < policy.answersMin) return 1;
  const share = (mine.good + 1) / (count + 2);
  const deviation = Math.sqrt((share * (1 - share)) / (count + 3));
  const fleet = (good + 1) / (good + bad + 2);
  if (share + policy.qualityZ * deviation < fleet - policy.qualityGap) return 0;
  if (mine.good < 5 * policy.answersMin || good < 5 * policy.answersMin) return 1;
  const lengths = mine.lengths.map((_count, index) =>
    rest.reduce((sum, other) => sum + (other.lengths[index] ?? 0), 0),
  );
  const mostByChance = chanceIndex(mine.good, good, policy.lengthShiftZ);
  const index = stabilityIndex(mine.lengths, lengths);
  return index > policy.lengthShiftMax + mostByChance ? 0.5 : 1;
}
