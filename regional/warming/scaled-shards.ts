import type { ShardId } from "#shared/residency/brands.ts";
import type { LifecycleEvent } from "#shared/warming/shard-lifecycle.ts";
import type { Clock } from "../ports/clock.ts";
import type { EngineState, Supervisor } from "../ports/supervisor.ts";

/** Between two looks, ms. */
const lookMs = 1_000;
/** Longest call of the supervisor, ms. */
const callMs = 1_000;
/** How long turns may go on at a shard whose engine the scaler ends; then they go on elsewhere, ms. */
const leaveMs = 60_000;

type ScaledTo = (LifecycleEvent & { readonly kind: "scaled" })["to"];

/** What a cell does about its own shards whose engines a scaler starts and ends, whichever cell of the region leads. */
export interface ScaledShards {
  /** One look; a second one meanwhile is skipped. Never rejects. */
  look(): Promise<void>;
  /** Whether its engine is ended, as far as is known: then nobody is to be asked whether it lives. */
  isStopped(shard: ShardId): boolean;
  /** Begins to look; returns the stop. */
  start(): () => void;
}

export interface ScaledShardsOptions {
  /** Of this cell. */
  readonly shards: readonly ShardId[];
  /** Null: nobody starts or ends engines here. */
  readonly supervisor: Supervisor | null;
  readonly clock: Clock;
  readonly note: (shard: ShardId, event: LifecycleEvent) => void;
  readonly inFlight: (shard: ShardId) => number;
  /** Has what runs on the shard go on elsewhere. Repeatable. */
  readonly leave: (shard: ShardId) => void;
  /** A shard takes prompts now that did not, or the other way round. */
  readonly onChange: (shard: ShardId, to: ScaledTo, from: ScaledTo) => void;
}

/** A shard takes prompts once its engine serves; what starts is not there yet. */
const scaledTo: Readonly<Record<EngineState, ScaledTo>> = {
  running: "running",
  starting: "stopped",
  ending: "ending",
  stopped: "stopped",
};

/**
 * Asks the supervisor what it does with this cell's shards. What shall end takes no new prompts; the supervisor is told when the last
 * one has left it. Nothing is kept over a restart of the cell: the supervisor knows. While it does not answer, all stays as it is.
 */
export function createScaledShards(options: ScaledShardsOptions): ScaledShards {
  const { clock, inFlight, leave, note, onChange, shards, supervisor } = options;
  /** Those that do not simply run, with since when, ms. */
  const scaled = new Map<ShardId, { readonly to: ScaledTo; readonly sinceMs: number }>();
  let looking: Promise<void> | null = null;

  function take(shard: ShardId, to: ScaledTo): void {
    const from = scaled.get(shard)?.to ?? "running";
    if (from === to) return;
    if (to === "running") scaled.delete(shard);
    else scaled.set(shard, { to, sinceMs: clock.nowMs() });
    note(shard, { kind: "scaled", to });
    onChange(shard, to, from);
  }

  async function lookOnce(from: Supervisor): Promise<void> {
    const states = await from.states(AbortSignal.timeout(callMs));
    if (states === null) return;
    for (const shard of shards) {
      const state = states.get(shard);
      if (state === undefined) continue;
      take(shard, scaledTo[state]);
      if (state !== "ending") continue;
      if (inFlight(shard) === 0) await from.left(shard, AbortSignal.timeout(callMs));
      else if (clock.nowMs() - (scaled.get(shard)?.sinceMs ?? 0) >= leaveMs) leave(shard);
    }
  }

  function look(): Promise<void> {
    if (supervisor === null) return Promise.resolve();
    looking ??= lookOnce(supervisor).finally(() => {
      looking = null;
    });
    return looking;
  }

  return {
    look,
    isStopped: (shard) => scaled.get(shard)?.to === "stopped",
    start: () => (supervisor === null ? () => {} : clock.every(lookMs, () => void look())),
  };
}
