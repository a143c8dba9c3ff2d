import type {
  ConversationHead,
  OutboxEntry,
  StoredItem,
  StoredTurn,
} from "#shared/conversation/store.ts";
import { MemoryConversationStore } from "#test/support/memory-conversation-store.ts";

/** The object's storage as one instance sees it: knows when it changed, and can be copied, which is what a commit keeps. */
export class SimStore extends MemoryConversationStore {
  /** When the alarm is due; null when none is set. */
  alarmAtMs: number | null = null;
  /** Counts writes. */
  version = 0;

  setAlarm(atMs: number | null): void {
    this.version += 1;
    this.alarmAtMs = atMs;
  }
  override writeHead(head: ConversationHead): void {
    this.version += 1;
    super.writeHead(head);
  }
  override appendItem(item: StoredItem): void {
    this.version += 1;
    super.appendItem(item);
  }
  override replaceItem(item: StoredItem): void {
    this.version += 1;
    super.replaceItem(item);
  }
  override writeTurn(turn: StoredTurn): void {
    this.version += 1;
    super.writeTurn(turn);
  }
  override appendJournal(turnRandom: string, fromSeq: number, toSeq: number, text: string): void {
    this.version += 1;
    super.appendJournal(turnRandom, fromSeq, toSeq, text);
  }
  override deleteJournal(turnRandom: string): void {
    this.version += 1;
    super.deleteJournal(turnRandom);
  }
  override writeIdempotency(
    key: string,
    sha: string,
    turnRandom: string,
    expiresAtMs: number,
  ): void {
    this.version += 1;
    super.writeIdempotency(key, sha, turnRandom, expiresAtMs);
  }
  override addOutbox(entry: OutboxEntry): void {
    this.version += 1;
    super.addOutbox(entry);
  }
  override deleteOutbox(id: number): void {
    this.version += 1;
    super.deleteOutbox(id);
  }
  override clear(): void {
    this.version += 1;
    super.clear();
  }

  copy(): SimStore {
    const copy = new SimStore();
    copy.take(this);
    return copy;
  }

  /** Becomes what `other` is. Values are never changed in place, so that sharing them is safe. */
  take(other: SimStore): void {
    this.head = other.head;
    this.alarmAtMs = other.alarmAtMs;
    this.version = other.version;
    this.outbox = [...other.outbox];
    this.nextOutboxId = other.nextOutboxId;
    for (const name of ["items", "turns", "journals", "keys"] as const) {
      const mine: Map<unknown, unknown> = this[name];
      mine.clear();
      for (const [key, value] of other[name]) mine.set(key, value);
    }
  }
}
