import type { ShardSpeed } from "../routing/shard-state.ts";

/** What a turn computed, tokens. */
export interface TurnTokens {
  readonly uncachedTokens: number;
  readonly completionTokens: number;
}

/** One replica, and how fast its answers must be. */
export interface ReplicaSpeed {
  readonly speed: ShardSpeed;
  readonly concurrentRequestsMax: number;
  readonly itlSloSeconds: number;
}

/** Largest batch whose time between tokens stays within its objective: at least 1, at most what the replica runs at once. */
export function batchMax({ concurrentRequestsMax, itlSloSeconds, speed }: ReplicaSpeed): number {
  const { sequenceSeconds, stepFloorSeconds } = speed;
  const fit = Math.floor((itlSloSeconds - stepFloorSeconds) / Math.max(1e-9, sequenceSeconds));
  return Math.max(1, Math.min(concurrentRequestsMax, fit));
}

/**
 * Seconds of one replica that a turn takes when replicas are as full as they may be (routing rules for scaling): prompt tokens to
 * compute by the prefill's speed, answer tokens by a step of the largest batch shared by that batch.
 */
export function turnWorkSeconds(
  { completionTokens, uncachedTokens }: TurnTokens,
  replica: ReplicaSpeed,
): number {
  const { prefillTokensPerSecond, sequenceSeconds, stepFloorSeconds } = replica.speed;
  const batch = batchMax(replica);
  const stepSeconds = stepFloorSeconds + batch * sequenceSeconds;
  return (
    Math.max(0, uncachedTokens) / Math.max(1, prefillTokensPerSecond) +
    (Math.max(0, completionTokens) * stepSeconds) / batch
  );
}
