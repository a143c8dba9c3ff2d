import { CellLevel } from "#shared/overload/cell-level.ts";
import type { LevelReason } from "#shared/overload/level.ts";
import { defaultLevelPolicy } from "#shared/overload/level-policy.ts";
import type { DegradationLevel, LevelInputs, LevelPolicy } from "#shared/overload/level-policy.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { Clock } from "../ports/clock.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";

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

/** The level source of one cell: its shards, its queue and its clock. */
export function createLevelSource(options: LevelSourceOptions): LevelSource {
  const { clock, onChange, policy = defaultLevelPolicy, queueDelay, statuses } = options;
  const own = new CellLevel(policy, clock.nowMs());
  return {
    level: () => own.level,
    inputs: () => own.inputs,
    now: () => own.look(statuses(), queueDelay(), clock.nowMs()),
    sinceMs: () => own.sinceMs,
    ended: ({ error }) => own.ended(error, clock.nowMs()),
    tick() {
      const reason = own.step(statuses(), queueDelay(), clock.nowMs());
      if (reason !== null) onChange(own.level, reason);
    },
  };
}
