import type { ShardDescription } from "#shared/config/topology.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { lifecyclePolicyOf } from "#shared/warming/lifecycle-policy.ts";
import {
  coldStartMsOf,
  newLifecycle,
  stepLifecycle,
  viewLifecycle,
} from "#shared/warming/shard-lifecycle.ts";
import type {
  LifecycleEvent,
  LifecyclePolicy,
  LifecycleState,
  LifecycleView,
} from "#shared/warming/shard-lifecycle.ts";

/** Which shards of a cell run, start, or were taken down by their platform. */
export interface ShardLives {
  note(shard: ShardId, event: LifecycleEvent, nowMs: number): void;
  /** `isBroken`: its breaker lets nothing through. */
  view(shard: ShardId, isBroken: boolean, nowMs: number): LifecycleView;
  /** Whether its platform takes it down when nobody asks: then whatever asks it keeps it up, and costs. */
  isServerless(shard: ShardId): boolean;
  /** How long its next cold start is expected to take, ms. */
  coldStartMs(shard: ShardId): number;
  /** How long its last cold starts took, ms. */
  startsMs(shard: ShardId): readonly number[];
  /** How long nobody has asked it, ms; 0 while a prompt runs. */
  idleMs(shard: ShardId, nowMs: number): number;
}

export interface ShardLivesOptions {
  readonly shards: readonly ShardDescription[];
  readonly nowMs: () => number;
  /** Told how long a cold start took, ms. */
  readonly onStarted: (shard: ShardId, startedInMs: number) => void;
}

interface Life {
  readonly policy: LifecyclePolicy;
  state: LifecycleState;
}

/** The lives of one cell's shards, as the topology and their answers tell them. */
export function createShardLives(options: ShardLivesOptions): ShardLives {
  const { nowMs: now, onStarted, shards } = options;
  const lives = new Map<ShardId, Life>(
    shards.map((shard) => {
      const policy = lifecyclePolicyOf(shard);
      return [shard.id, { policy, state: newLifecycle(policy, now()) }];
    }),
  );

  function lifeOf(shard: ShardId): Life {
    const life = lives.get(shard);
    invariant(life !== undefined, "a shard of this cell has a life");
    return life;
  }

  return {
    note(shard, event, nowMs) {
      const life = lifeOf(shard);
      const step = stepLifecycle(life.state, event, nowMs, life.policy);
      life.state = step.state;
      if (step.startedInMs !== null) onStarted(shard, step.startedInMs);
    },
    view(shard, isBroken, nowMs) {
      const { policy, state } = lifeOf(shard);
      return viewLifecycle(state, isBroken, nowMs, policy);
    },
    isServerless: (shard) => lifeOf(shard).policy.scaleToZeroMs !== null,
    coldStartMs(shard) {
      const { policy, state } = lifeOf(shard);
      return coldStartMsOf(state, policy);
    },
    startsMs: (shard) => lifeOf(shard).state.startsMs,
    idleMs(shard, nowMs) {
      const { activeAtMs, running } = lifeOf(shard).state;
      return running > 0 ? 0 : Math.max(0, nowMs - activeAtMs);
    },
  };
}
