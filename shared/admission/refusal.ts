/**
 * Why a turn was not dispatched: metric label, log field and assertion. *Rejected*, never queued: `shed`, `predictedLate`,
 * `waitTooLong`, `deadlineTooShort`, `coldElsewhere`, `coldTooLong`, `modelQueueFull`, `cellQueueFull`, and `deadlinePassed` where it came too late. *Evicted*,
 * queued and then removed: `queueTimeout`, `displaced`, `longQueue`, `roomTimeout`, `coldTimeout`, and `deadlinePassed` where it waited.
 */
export type RefusalReason =
  /** It is in the share of arrivals that is shed. */
  | "shed"
  /** Behind what waits it would be finished after its deadline. */
  | "predictedLate"
  /** It would wait for longer than its class may. */
  | "waitTooLong"
  /** Free shards, too, would begin its answer after its deadline. */
  | "deadlineTooShort"
  | "deadlinePassed"
  | "modelQueueFull"
  | "cellQueueFull"
  /** It waited as long as its class may. */
  | "queueTimeout"
  /** A full queue gave its place to a more important class or to a tenant with less in it. */
  | "displaced"
  /** It waited longest in a queue that was too long for good. */
  | "longQueue"
  /** No shard of its model came up while it waited for the first one. */
  | "roomTimeout"
  /** Only cold shards, and a running one in another cell. */
  | "coldElsewhere"
  /** Only cold shards, none of which is expected to run before the deadline. */
  | "coldTooLong"
  /** No cold shard had started when it had waited for one long enough. */
  | "coldTimeout"
  | "draining";
