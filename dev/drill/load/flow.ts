import type { Priority } from "#shared/config/topology.ts";

/** A steady stream of requests of one tenant. */
export interface Flow {
  /** Unique in a drill; what reports call it. */
  readonly name: string;
  readonly jurisdiction: string;
  readonly key: string;
  readonly priority: Priority;
  readonly perSecond: number;
  /** A whole answer whose first token comes later is not good. */
  readonly ttftMsMax: number;
}

/** Whether somebody waits for the answers of this flow. */
export function isInteractive(flow: Flow): boolean {
  return flow.priority === "critical" || flow.priority === "interactive";
}
