import type { DevFile } from "../../supervisor/dev-file.ts";
import type { Flow } from "../load/flow.ts";

/** The system that a drill runs against. */
export interface DrilledSystem {
  /** For the report. */
  readonly description: string;
  /** The present dev.json, where processes that were started again have other ids; the last one that was there when it is gone. */
  file(): DevFile;
  readonly flows: readonly Flow[];
  readonly model: string;
  /** The jurisdiction whose shards the faults hit. */
  readonly jurisdiction: string;
  /** Whether the shards there are taken down when nobody asks them, as the drill wants it. */
  readonly scalesToZero: boolean;
  isSupervisorAlive(): boolean;
  /** Copies the logs of an own system, which go with it, into a folder. */
  keepLogs(path: string): void;
  /** Ends what the drill started, and returns what is left running all the same. */
  stop(): Promise<readonly string[]>;
}

/** A system that cannot be drilled, with the reason for the user. */
export class SystemError extends Error {}
