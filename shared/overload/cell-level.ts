import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { ShardId } from "../residency/brands.ts";
import type { LifecycleView } from "../warming/shard-lifecycle.ts";
import { newLevelState, stepLevel } from "./level.ts";
import type { LevelReason, LevelState } from "./level.ts";
import type { DegradationLevel, LevelInputs, LevelPolicy } from "./level-policy.ts";
import { errorRatioOf, newOutcomeWindow, withOutcome } from "./outcome-window.ts";
import type { OutcomeWindow } from "./outcome-window.ts";

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

/** What of a shard the level is decided from. */
export interface LevelShard {
  readonly id: ShardId;
  /** 0..1. */
  readonly weight: number;
  /** Whether a prompt may go there now, when it has room. */
  readonly isUsable: boolean;
  readonly isDraining: boolean;
  readonly life: Pick<LifecycleView, "lifecycle">;
  readonly inFlight: number;
  readonly concurrentRequestsMax: number;
  /** The worst of slots, KV memory and prefill in front; 1 is full. */
  readonly saturation: number;
}

/**
 * A cell's degradation level and what it is decided from: its own shards, its own queue, its own failures; nothing of the health
 * KV goes in. It holds no clock: its owner looks several times a second. The cell and the simulator run it unchanged.
 */
export class CellLevel {
  readonly #policy: LevelPolicy;
  readonly #wholeOnce = new Set<ShardId>();
  #state: LevelState;
  #outcomes: OutcomeWindow = newOutcomeWindow();
  #seen: LevelInputs = { saturation: 0, queueDelay: 0, healthyShare: 1, errorRatio: 0 };

  constructor(policy: LevelPolicy, nowMs: number) {
    this.#policy = policy;
    this.#state = newLevelState(nowMs);
  }

  get level(): DegradationLevel {
    return this.#state.level;
  }

  /** When the level last changed, ms. */
  get sinceMs(): number {
    return this.#state.sinceMs;
  }

  /** What was seen at the last step, the saturation smoothed. */
  get inputs(): LevelInputs {
    return this.#seen;
  }

  /** What is to be seen now, nothing smoothed. `queueDelay`: longest wait over its class's promise. */
  look(shards: Iterable<LevelShard>, queueDelay: number, nowMs: number): LevelInputs {
    let known = 0;
    let healthy = 0;
    let usable = 0;
    let load = 0;
    for (const shard of shards) {
      // What an operator takes out is neither healthy nor sick.
      if (shard.isDraining) continue;
      // Nor is what its platform takes down when nobody asks.
      if (shard.life.lifecycle === "cold" || shard.life.lifecycle === "warming") continue;
      const weight = shard.isUsable ? shard.weight : 0;
      if (weight >= wholeWeight) this.#wholeOnce.add(shard.id);
      // What still runs on a sick shard is load that the healthy ones may get.
      const share = Math.max(
        shard.inFlight / shard.concurrentRequestsMax,
        weight * shard.saturation,
      );
      load += Math.min(shardSaturationMax, share) * shard.concurrentRequestsMax;
      usable += weight * shard.concurrentRequestsMax;
      if (!this.#wholeOnce.has(shard.id)) continue;
      known += shard.concurrentRequestsMax;
      healthy += weight * shard.concurrentRequestsMax;
    }
    return {
      saturation: usable === 0 ? 0 : load / usable,
      queueDelay,
      healthyShare: known === 0 ? 1 : healthy / known,
      errorRatio: errorRatioOf(this.#outcomes, nowMs),
    };
  }

  /** A turn has ended; `error` is what its client was told, null for an answer. */
  ended(error: Pick<ErrorOutcome, "code"> | null, nowMs: number): void {
    const hasFailed = error !== null && ownFailures.has(error.code);
    this.#outcomes = withOutcome(this.#outcomes, hasFailed, nowMs);
  }

  /** Looks and decides; the reason where the level has changed, else null. */
  step(shards: Iterable<LevelShard>, queueDelay: number, nowMs: number): LevelReason | null {
    const looked = this.look(shards, queueDelay, nowMs);
    const { reason, state } = stepLevel(this.#state, looked, nowMs, this.#policy);
    const isChanged = state.level !== this.#state.level;
    this.#state = state;
    this.#seen = { ...looked, saturation: state.saturation ?? looked.saturation };
    return isChanged ? reason : null;
  }
}
