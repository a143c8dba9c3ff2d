import type { PoolDescription } from "#shared/config/scaling.ts";
import type { ActuationOutcome } from "#shared/scaling/actuation.ts";
import type { PoolObservation } from "#shared/scaling/pool-supply.ts";

/** Starts and stops the replicas of pools. One try a call; the caller decides about the next one. */
export interface Platform {
  /**
   * What the platform was told to have of a pool, and what of it runs; null when that is not known. `readyShards` are the shards
   * that cells of the region have seen answering. Never rejects.
   */
  observe(
    pool: PoolDescription,
    readyShards: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<PoolObservation | null>;
  /**
   * Tells the platform to have `replicas`. Idempotent. `token` is that of the lease; a platform that can refuse lower ones does.
   * Never rejects; after `signal` aborts nothing more is sent.
   */
  apply(
    pool: PoolDescription,
    replicas: number,
    token: number,
    signal: AbortSignal,
  ): Promise<ActuationOutcome>;
  /** Closes what it holds open. */
  close(): void;
}

/** What starts and stops the replicas of a cell's region. */
export interface Platforms {
  /** Null for a pool that nothing here can change: its plans are only written. */
  of(pool: PoolDescription): Platform | null;
  close(): void;
}
