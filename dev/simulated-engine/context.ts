import type { Driver } from "./driver.ts";
import type { EngineOptions } from "./options.ts";
import type { EngineMetrics } from "./http/metrics.ts";
import type { BatchEngine, EngineCounters } from "./model/batch-engine.ts";

/** What every route of one engine works with. */
export interface EngineContext {
  readonly options: EngineOptions;
  readonly engine: BatchEngine;
  /** The counters that the engine tells of itself. */
  readonly told: () => EngineCounters;
  readonly driver: Driver;
  readonly metrics: EngineMetrics;
  /** Ends the process, as a crash would. */
  readonly crash: () => void;
  /** Seconds since the epoch at which the engine began. */
  readonly createdAtSeconds: number;
}
