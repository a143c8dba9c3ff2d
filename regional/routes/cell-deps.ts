import type { CellDescription } from "#shared/config/topology.ts";
import type { ScalePlan } from "#shared/scaling/scale-model.ts";
import type { HistoryStore } from "#shared/protocol/internal/history.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { CallVerifier } from "../ports/call-verifier.ts";
import type { Engine } from "../ports/engine.ts";
import type { LevelSource } from "../overload/level-source.ts";
import type { ThrottleMeter } from "../overload/throttle-meter.ts";
import type { Clock } from "../ports/clock.ts";
import type { RandomSource } from "../ports/random.ts";
import type { Prewarmer } from "../scheduler/prewarmer.ts";
import type { ShardDrains } from "../scheduler/shard-drains.ts";
import type { WarmConversations } from "../scheduler/warm-conversations.ts";
import type { TurnRegistry } from "../turns/turn-registry.ts";

/** Why a cell takes no prompts; empty when it does. */
export type NotReadyReason = "draining" | "noUsableShard" | "databaseUnavailable";

/** What `/readyz` answers. A database that is away is told, but keeps no prompt away: history waits in the objects. */
export interface Readiness {
  readonly isReady: boolean;
  readonly reasons: readonly NotReadyReason[];
}

/** Everything that the cell's app needs. */
export interface CellDeps {
  readonly cell: CellDescription;
  readonly verifier: CallVerifier;
  readonly registry: TurnRegistry;
  readonly level: LevelSource;
  /** The region's plans while this cell leads its scaler. */
  readonly plans: () => readonly ScalePlan[];
  readonly throttle: Pick<ThrottleMeter, "header">;
  readonly drains: ShardDrains;
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly prewarmer: Prewarmer;
  readonly warm: WarmConversations;
  readonly history: HistoryStore;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Log;
  readonly metrics: MetricsRegistry;
  readonly readiness: () => Readiness;
  /** Silence after which a comment keeps a stream's connections open, ms. */
  readonly heartbeatMs: number;
}
