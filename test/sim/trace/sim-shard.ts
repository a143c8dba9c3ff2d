import { noiseFactor } from "#dev/simulated-engine/model/step-time.ts";
import { newBreaker } from "#shared/breaker/breaker-state.ts";
import type { BreakerState } from "#shared/breaker/breaker-state.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { neutralErrorRatio } from "#shared/routing/error-ratio.ts";
import type { ErrorRatio } from "#shared/routing/error-ratio.ts";
import type { ForeignLoad } from "#shared/routing/foreign-load.ts";
import type { ShardState } from "#shared/routing/shard-state.ts";
import { createStepEngine } from "./engine/step-engine.ts";
import type { StepEngine } from "./engine/step-engine.ts";
import type { FleetShard } from "./fleet.ts";

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** The jurisdiction of all simulated shards, and the model that is asked for. */
export const simJurisdiction = "eu" as Jurisdiction;
export const simModel = "sim";
/** A smaller one that tenants may allow in its place. */
export const smallerModel = "smaller";

/**
 * What ails a shard. `dead` and `failing` answer every prompt with an error, `dead` and `hung` no health check; a `liar` tells of
 * no load at all.
 */
export type Ailment = "none" | "dead" | "failing" | "hung" | "liar";

/** A shard in virtual time: its engine, and what its cell knows of it. */
export interface SimShard {
  readonly engine: StepEngine;
  /** The cell's own counters; changed in place, so that a decision allocates nothing for them. */
  readonly state: Mutable<ShardState>;
  breaker: BreakerState;
  ratio: ErrorRatio;
  ailment: Ailment;
  /** What the last health check said, where there are any. */
  isAlive: boolean;
  wasGone: boolean;
  /** What it does for others than this cell, as far as it said; and what of that is in the counters. */
  foreign: ForeignLoad | null;
  counted: Pick<ForeignLoad, "inFlight" | "kvTokens">;
  /** Tries in the engine. */
  readonly tries: Set<number>;
}

/** Useful share of a profile's compute in prefill: prefill ≈ 0.85/f (docs/simulation.md). */
const prefillEfficiency = 0.85;

/** Makes an idle shard. `random` draws the noise of its steps. */
export function createSimShard(shard: FleetShard, random: () => number): SimShard {
  const { profile, concurrentRequestsMax, usdPerHour } = shard;
  const prefillTokensPerSecond = (1_000 * prefillEfficiency) / profile.computeMsPerToken;
  const stepSeconds = (profile.weightReadMs + profile.hostMs) / 1_000;
  const usdPerSecond = usdPerHour / 3_600;
  return {
    engine: createStepEngine({
      profile,
      concurrentMax: concurrentRequestsMax,
      // The mean of n independent factors around 1 lies √n times closer to it.
      noise: (steps) => noiseFactor(random) ** (1 / Math.sqrt(steps)),
    }),
    state: {
      id: shard.id as ShardId,
      model: shard.isSmaller === true ? smallerModel : simModel,
      revision: "1",
      jurisdiction: simJurisdiction,
      contextTokensMax: profile.kvTokens,
      isDraining: false,
      isAdmitting: true,
      weight: 1,
      speed: {
        prefillTokensPerSecond,
        stepFloorSeconds: stepSeconds,
        sequenceSeconds: profile.hostMsPerSequence / 1_000,
        kvTokenSeconds: profile.kvReadMsPerToken / 1_000,
      },
      replicas: 1,
      concurrentRequestsMax,
      kvTokensMax: profile.kvTokens,
      inFlight: 0,
      kvTokens: 0,
      pendingPrefillTokens: 0,
      workTokens: 0,
      errorRatio: 1,
      roundTripSeconds: 0.002,
      usdPerMillionInputTokens: (1e6 * usdPerSecond) / prefillTokensPerSecond,
      // At half of the batch, the shard's usual working point.
      usdPerMillionOutputTokens: (1e6 * usdPerSecond * stepSeconds * 2) / concurrentRequestsMax,
    },
    breaker: newBreaker(),
    ratio: neutralErrorRatio,
    ailment: "none",
    isAlive: true,
    wasGone: false,
    foreign: null,
    counted: { inFlight: 0, kvTokens: 0 },
    tries: new Set(),
  };
}
