import type { HistoryStore, HistoryUsage } from "#shared/protocol/internal/history.ts";
import type { Jurisdiction, TenantId } from "#shared/residency/brands.ts";
import type { Clock } from "../ports/clock.ts";

/** Usage of one stateless turn. */
export type StatelessUsage = HistoryUsage & {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
};

/** Usage on its way to the database, off the critical path; survives an outage as long as the queue lasts. */
export interface UsageQueue {
  /** False when the queue is full: the record is lost, which the caller counts. */
  add(usage: StatelessUsage): boolean;
  waitingCount(): number;
  /** Tries to write what waits; resolves when nothing waits or the database is away. Never rejects. */
  flush(): Promise<void>;
}

/** Records that wait: ten minutes at 150 stateless turns a second, about 30 MB. */
const waitingMax = 100_000;
/** Time for one record, ms. */
const writeTimeoutMs = 5_000;
/** Records written at once. */
const concurrentMax = 8;

/** A queue in front of `store`. */
export function createUsageQueue(store: HistoryStore, clock: Clock): UsageQueue {
  const waiting: StatelessUsage[] = [];
  let flushing: Promise<void> | null = null;

  async function writeBatch(): Promise<boolean> {
    const batch = waiting.slice(0, concurrentMax);
    const deadlineMs = clock.nowMs() + writeTimeoutMs;
    const results = await Promise.all(
      batch.map((usage) =>
        store.recordUsage(usage, deadlineMs).catch(() => "unavailable" as const),
      ),
    );
    waiting.splice(0, batch.length);
    // What was written is unique by turn id, so that a record that comes twice counts once.
    const failed = batch.filter((_, index) => results[index] !== "recorded");
    waiting.push(...failed);
    return failed.length === 0;
  }

  async function writeAll(): Promise<void> {
    let isAvailable = true;
    while (isAvailable && waiting.length > 0) isAvailable = await writeBatch();
  }

  return {
    add(usage) {
      if (waiting.length >= waitingMax) return false;
      waiting.push(usage);
      return true;
    },
    waitingCount: () => waiting.length,
    flush() {
      flushing ??= writeAll().finally(() => {
        flushing = null;
      });
      return flushing;
    },
  };
}
