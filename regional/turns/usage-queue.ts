import type { HistoryStore, OwnedUsage } from "#shared/protocol/internal/history.ts";
import type { Clock } from "../ports/clock.ts";

/** Usage on its way to the database, off the critical path; survives an outage as long as the queue lasts. */
export interface UsageQueue {
  /** False when the queue is full: the record is lost, which the caller counts. */
  add(usage: OwnedUsage): boolean;
  waitingCount(): number;
  /** Tries to write what waits; resolves when nothing waits or the database is away. Never rejects. */
  flush(): Promise<void>;
}

/** Records that wait: ten minutes at 150 stateless turns a second, about 30 MB. */
const waitingMax = 100_000;
/** Time for one statement, ms. */
const writeTimeoutMs = 5_000;
/** Records of one statement: 2,000 turns a second are four of them. */
const batchMax = 500;

/** A queue in front of `store`. */
export function createUsageQueue(store: HistoryStore, clock: Clock): UsageQueue {
  const waiting: OwnedUsage[] = [];
  let flushing: Promise<void> | null = null;

  /** What of `batch` is still to be written. One record that the database does not take holds up none of the others. */
  async function write(batch: readonly OwnedUsage[]): Promise<readonly OwnedUsage[]> {
    const deadlineMs = clock.nowMs() + writeTimeoutMs;
    const result = await store.recordUsage(batch, deadlineMs).catch(() => "refused" as const);
    if (result === "recorded") return [];
    if (result === "unavailable" || batch.length === 1) return batch;
    const middle = batch.length >> 1;
    return [...(await write(batch.slice(0, middle))), ...(await write(batch.slice(middle)))];
  }

  async function writeAll(): Promise<void> {
    for (let isTaken = true; isTaken && waiting.length > 0;) {
      const batch = waiting.slice(0, batchMax);
      const kept = await write(batch);
      // What was written is unique by turn id, so that a record that comes twice counts once.
      waiting.splice(0, batch.length);
      waiting.push(...kept);
      isTaken = kept.length < batch.length;
    }
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
