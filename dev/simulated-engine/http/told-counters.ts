/** What an engine tells of its load, which the fault `lie` makes untrue. */
import type { EngineCounters } from "../model/batch-engine.ts";

/** What a lying engine says of itself, whatever it does. */
export type Lie = "idle" | "full";

/** Requests that a full engine claims to have waiting, times those that it can run. */
const waitingTimes = 4;

/** The counters that are told: the true ones, or those of an engine with nothing or far too much to do. Totals stay true. */
export function toldCounters(
  counters: EngineCounters,
  lie: Lie | undefined,
  concurrentMax: number,
): EngineCounters {
  if (lie === undefined) return counters;
  if (lie === "idle") return { ...counters, running: 0, waiting: 0, kvUsage: 0 };
  return { ...counters, running: concurrentMax, waiting: waitingTimes * concurrentMax, kvUsage: 1 };
}
