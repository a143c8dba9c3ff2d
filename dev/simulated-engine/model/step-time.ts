import type { EngineProfile } from "./profiles.ts";

/** What one step computes. */
export interface StepLoad {
  readonly prefillTokens: number;
  readonly decodeSequences: number;
  /** Resident KV tokens of the sequences that decode. */
  readonly kvTokensRead: number;
}

/** Duration of one step in ms of model time: `max(F, f*(x+b)) + g*b + kv*K + h` (routing.md 14). */
export function stepTimeMs(profile: EngineProfile, load: StepLoad): number {
  const tokens = load.prefillTokens + load.decodeSequences;
  return (
    Math.max(profile.weightReadMs, profile.computeMsPerToken * tokens) +
    profile.hostMsPerSequence * load.decodeSequences +
    profile.kvReadMsPerToken * load.kvTokensRead +
    profile.hostMs
  );
}

/**
 * Factor on a step's duration, log-normal with median 1. σ 0.10 is the middle of the 5–15 % of routing.md 14.
 * `random` is uniform on [0, 1).
 */
export function noiseFactor(random: () => number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return Math.exp(0.1 * radius * Math.cos(2 * Math.PI * random()));
}

/** Small seeded generator, uniform on [0, 1): mulberry32 (T. Ettinger, 2017). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
