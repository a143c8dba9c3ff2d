import type { TryResult } from "../conversation/turn-events.ts";

const blamelessReasons: ReadonlySet<string> = new Set([
  "clientFault",
  "saturated",
  "cold",
  "drained",
]);

/** What the end of a try says of the shard. The client's faults and a full or cold shard are nobody's failure. */
export function verdictOf(result: TryResult): "success" | "failure" | "release" {
  if (result.kind === "succeeded") return "success";
  if (result.kind === "aborted") return "release";
  const { reason } = result.failure;
  return blamelessReasons.has(reason) ? "release" : "failure";
}
