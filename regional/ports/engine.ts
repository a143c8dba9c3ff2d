import type { KnownAbilities } from "#shared/config/engine-abilities.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { ContinuationAbility } from "#shared/conversation/continuation.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import type { EngineEvent } from "#shared/protocol/engine-event.ts";
import type { EngineRequest } from "#shared/protocol/internal/turn-request.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { Usage } from "#shared/protocol/usage.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { EngineLoad } from "#shared/routing/engine-load.ts";

/** One dispatch. `body` is the client's part; the engine's adapter adds what only the gateway sets. */
export interface EngineCall {
  readonly path: EngineRequest["path"];
  readonly body: JsonObject;
  /** Of the client, for the cache salt; it never reaches the shard. */
  readonly tenant: string;
  readonly jurisdiction: string;
  /** For an engine that schedules by it. */
  readonly priority: Priority;
  /** Prompts with the same one want the same cache; the shard gets at most a keyed hash of it. */
  readonly affinityKey: string;
  /** Ours; never a client's. */
  readonly requestId: string;
  readonly traceparent: string;
}

/** Where an answer goes. */
export interface EngineSink {
  /** Events in order; called synchronously, so that one chunk of the shard becomes one step. */
  events(events: readonly EngineEvent[]): void;
  /** The whole answer of an API without streaming. */
  document(body: JsonObject, usage: Usage): void;
  /** Null, or a promise that resolves when the sink can take more: nothing is read from the shard until then. */
  room(): Promise<void> | null;
}

/** What one probe found. */
export type ProbeResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** A shard's engine. Retries nothing but a connection that the shard had closed before it was reused. */
export interface Engine {
  readonly shard: ShardId;
  /**
   * Runs one prompt and feeds `sink`. Resolves with null when the answer was read to its end (what the sink then knows
   * decides), or with the failure; never rejects. Aborting ends the shard's request at once.
   */
  run(call: EngineCall, sink: EngineSink, signal: AbortSignal): Promise<ShardFailure | null>;
  /** How it can go on with an answer that another shard began, as far as is known now; unknown is `none`. */
  continuationAbility(): ContinuationAbility;
  /** What is known of its abilities now. */
  abilities(): KnownAbilities;
  /**
   * An answer of it was whole and had no usage: if it was asked for some, it is not thought to tell any until a probe shows it.
   * Absent where nothing can be found out.
   */
  missedUsage?(): void;
  /** Asks the shard whether it is alive, within `timeoutMs`; never rejects. */
  probe(timeoutMs: number): Promise<ProbeResult>;
  /**
   * Asks the engine for its load, within `timeoutMs`; never rejects. `none`: it has no metrics. Absent where what answers is
   * not the whole shard.
   */
  load?(timeoutMs: number): Promise<EngineLoad | "none" | "failed">;
  /** Closes idle connections. */
  close(): void;
}
