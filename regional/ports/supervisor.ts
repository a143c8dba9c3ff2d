import type { ActuationOutcome } from "#shared/scaling/actuation.ts";

/** What the supervisor does with a shard's engine. `ending`: it runs until its cell says that nothing runs on it any more. */
export const engineStates = ["running", "starting", "ending", "stopped"] as const;
export type EngineState = (typeof engineStates)[number];

/** The supervisor of `npm run dev`, which starts and ends the engines of simulated shards. One try a call; nothing rejects. */
export interface Supervisor {
  /** Of every engine that it started; null when it does not say. */
  states(signal: AbortSignal): Promise<ReadonlyMap<string, EngineState> | null>;
  /** Has an engine run or not. `token` is that of the region's lease; a lower one than it knows is `fenced`. */
  set(
    shard: string,
    isRunning: boolean,
    token: number,
    signal: AbortSignal,
  ): Promise<ActuationOutcome>;
  /** Says that nothing of the shard's cell runs on it: if it is `ending`, it ends. False when that was not heard. */
  left(shard: string, signal: AbortSignal): Promise<boolean>;
}
