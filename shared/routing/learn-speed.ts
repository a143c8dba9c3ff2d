import type { ShardSpeed } from "./shard-state.ts";

/** What one answer showed of its shard. */
export interface SpeedSample {
  /** Uncached prompt tokens computed up to its first token: its own and those in front of it. */
  readonly prefillTokens: number;
  /** From dispatch to its first token, seconds. */
  readonly ttftSeconds: number;
  /** Tokens of the answer. */
  readonly outputTokens: number;
  /** From its first token to its last, seconds. */
  readonly decodeSeconds: number;
  /** Sequences that ran beside it, itself included, per replica. */
  readonly batch: number;
  /** KV tokens resident beside it, its own included, per replica. */
  readonly kvTokens: number;
  /** Replicas that share the prefill. */
  readonly replicas: number;
}

/** A shorter prefill says more of one step and the network than of the hardware. */
const prefillTokensMin = 512;
/** Fewer tokens say more of the network's chunks than of a step. */
const outputTokensMin = 16;
/** How much of a sample is taken up. */
const share = 0.1;
/** One sample counts as at most this many times faster or slower: an engine may hide what it had cached, or wait for others. */
const stepRatioMax = 4;
/** Bounds: from a CPU to ten times today's fastest row; one absurd clock reading must not decide where prompts go. */
const prefillTokensPerSecondMin = 50;
const prefillTokensPerSecondMax = 3_000_000;
const stepFloorSecondsMin = 1e-4;
const stepFloorSecondsMax = 2;

function within(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

/**
 * The speed after one more answer. Prefill is a geometric average of the rates seen; the step floor an average of what
 * a token took less what its batch and memory explain. Samples that are too short or no number change nothing.
 */
export function learnSpeed(speed: ShardSpeed, sample: SpeedSample): ShardSpeed {
  const prefillTokensPerSecond = learnPrefill(speed, sample);
  const stepFloorSeconds = learnStepFloor(speed, sample);
  return { ...speed, prefillTokensPerSecond, stepFloorSeconds };
}

function learnPrefill(
  { prefillTokensPerSecond: known, stepFloorSeconds }: ShardSpeed,
  { prefillTokens, replicas, ttftSeconds }: SpeedSample,
): number {
  const computing = Math.max(ttftSeconds - stepFloorSeconds, ttftSeconds / 2);
  const seen = prefillTokens / computing / replicas;
  if (!(prefillTokens >= prefillTokensMin) || Number.isNaN(seen)) return known;
  const ratio = within(seen / known, 1 / stepRatioMax, stepRatioMax);
  return within(known * ratio ** share, prefillTokensPerSecondMin, prefillTokensPerSecondMax);
}

function learnStepFloor(speed: ShardSpeed, sample: SpeedSample): number {
  const { batch, decodeSeconds, kvTokens, outputTokens } = sample;
  const { kvTokenSeconds, sequenceSeconds, stepFloorSeconds: known } = speed;
  const itlSeconds = decodeSeconds / (outputTokens - 1);
  if (!(outputTokens >= outputTokensMin) || !Number.isFinite(itlSeconds)) return known;
  const floor = itlSeconds - sequenceSeconds * batch - kvTokenSeconds * kvTokens;
  const bounded = within(floor, stepFloorSecondsMin, stepFloorSecondsMax);
  return known + share * (bounded - known);
}
