import { newLevelState, stepLevel } from "#shared/overload/level.ts";
import type { LevelReason, LevelState } from "#shared/overload/level.ts";
import { defaultLevelPolicy } from "#shared/overload/level-policy.ts";
import type { DegradationLevel, LevelInputs, LevelPolicy } from "#shared/overload/level-policy.ts";
import { errorRatioOf, newOutcomeWindow, withOutcome } from "#shared/overload/outcome-window.ts";
import type { OutcomeWindow } from "#shared/overload/outcome-window.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Clock } from "../ports/clock.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";

/** A shard has been whole once its weight was this high: what warms up for the first time is no loss of health. */
const wholeWeight = 0.9;

/** A shard counts as at most this full: one that lies, or has one very long prompt, is not the whole cell. */
const shardSaturationMax = 1.25;

/** Failures that are ours; what the client did, and what was refused, raise no level. */
const ownFailures: ReadonlySet<string> = new Set([
  "upstream_invalid",
  "interrupted",
  "internal_error",
  "no_capacity_in_jurisdiction",
]);

/** The cell's degradation level, and what it was decided from. */
export interface LevelSource {
  level(): DegradationLevel;
  /** What was seen at the last look, the saturation smoothed over 10 s. */
  inputs(): LevelInputs;
  /** What is to be seen at this moment, nothing smoothed. */
  now(): LevelInputs;
  /** When the level last changed, ms since the epoch. */
  sinceMs(): number;
  /** A turn has ended. */
  ended(outcome: Pick<TurnOutcome, "error">): void;
  /** Looks; cheap enough for ten times a second. */
  tick(): void;
}

export interface LevelSourceOptions {
  readonly statuses: () => readonly ShardStatus[];
  readonly queueDelay: () => number;
  readonly clock: Clock;
  readonly policy?: LevelPolicy;
  /** The level has changed; called once for each change. */
  readonly onChange: (level: DegradationLevel, reason: LevelReason) => void;
}

/** The level source of one cell. Its inputs are the cell's own: nothing of the health KV goes in. */
export function createLevelSource(options: LevelSourceOptions): LevelSource {
  const { clock, onChange, policy = defaultLevelPolicy, queueDelay, statuses } = options;
  let state: LevelState = newLevelState(clock.nowMs());
  let outcomes: OutcomeWindow = newOutcomeWindow();
  let seen: LevelInputs = { saturation: 0, queueDelay: 0, healthyShare: 1, errorRatio: 0 };
  const wholeOnce = new Set<ShardId>();

  function look(): LevelInputs {
    let known = 0;
    let healthy = 0;
    let usable = 0;
    let load = 0;
    for (const shard of statuses()) {
      // What an operator takes out is neither healthy nor sick.
      if (shard.isDraining) continue;
      // Nor is what its platform takes down when nobody asks.
      if (shard.life.lifecycle === "cold" || shard.life.lifecycle === "warming") continue;
      const weight = shard.isUsable ? shard.weight : 0;
      if (weight >= wholeWeight) wholeOnce.add(shard.id);
      // What still runs on a sick shard is load that the healthy ones may get.
      const share = Math.max(
        shard.inFlight / shard.concurrentRequestsMax,
        weight * shard.saturation,
      );
      load += Math.min(shardSaturationMax, share) * shard.concurrentRequestsMax;
      usable += weight * shard.concurrentRequestsMax;
      if (!wholeOnce.has(shard.id)) continue;
      known += shard.concurrentRequestsMax;
      healthy += weight * shard.concurrentRequestsMax;
    }
    return {
      saturation: usable === 0 ? 0 : load / usable,
      queueDelay: queueDelay(),
      healthyShare: known === 0 ? 1 : healthy / known,
      errorRatio: errorRatioOf(outcomes, clock.nowMs()),
    };
  }

  return {
    level: () => state.level,
    inputs: () => seen,
    now: look,
    sinceMs: () => state.sinceMs,
    ended({ error }) {
      const hasFailed = error !== null && ownFailures.has(error.code);
      outcomes = withOutcome(outcomes, hasFailed, clock.nowMs());
    },
    tick() {
      const looked = look();
      const step = stepLevel(state, looked, clock.nowMs(), policy);
      const isChanged = step.state.level !== state.level;
      ({ state } = step);
      seen = { ...looked, saturation: state.saturation ?? looked.saturation };
      if (isChanged) onChange(state.level, step.reason);
    },
  };
}
