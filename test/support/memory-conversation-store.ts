import type {
  ConversationHead,
  ConversationStore,
  OutboxEntry,
  OutboxRow,
  StoredItem,
  StoredTurn,
} from "#shared/conversation/store.ts";

/** The whole conversation store in memory. `copy()` is what a crash leaves: everything committed, nothing else. */
export class MemoryConversationStore implements ConversationStore {
  head: ConversationHead | null = null;
  readonly items = new Map<number, StoredItem>();
  readonly turns = new Map<string, StoredTurn>();
  readonly journals = new Map<string, { fromSeq: number; toSeq: number; text: string }[]>();
  readonly keys = new Map<
    string,
    { bodySha256: string; turnRandom: string; expiresAtMs: number }
  >();
  outbox: OutboxRow[] = [];
  nextOutboxId = 1;

  readHead(): ConversationHead | null {
    return this.head;
  }
  writeHead(head: ConversationHead): void {
    this.head = head;
  }
  appendItem(item: StoredItem): void {
    if (this.items.has(item.seq)) throw new Error("an item with this seq exists");
    this.items.set(item.seq, item);
  }
  replaceItem(item: StoredItem): void {
    this.items.set(item.seq, item);
  }
  readItem(seq: number): StoredItem | null {
    return this.items.get(seq) ?? null;
  }
  findItem(itemId: string): StoredItem | null {
    return [...this.items.values()].find((item) => item.id === itemId) ?? null;
  }
  readItems(fromSeq: number, toSeq: number, limit: number): readonly StoredItem[] {
    return [...this.items.values()]
      .filter((item) => item.seq >= fromSeq && item.seq <= toSeq)
      .toSorted((a, b) => a.seq - b.seq)
      .slice(0, limit);
  }
  readItemsDescending(fromSeq: number, toSeq: number, limit: number): readonly StoredItem[] {
    return [...this.items.values()]
      .filter((item) => item.seq >= fromSeq && item.seq <= toSeq)
      .toSorted((a, b) => b.seq - a.seq)
      .slice(0, limit);
  }
  writeTurn(turn: StoredTurn): void {
    this.turns.set(turn.turnRandom, turn);
  }
  readTurn(turnRandom: string): StoredTurn | null {
    return this.turns.get(turnRandom) ?? null;
  }
  readTurnsEndedSince(sinceMs: number, limit: number): readonly StoredTurn[] {
    return [...this.turns.values()]
      .filter((turn) => turn.endedAtMs !== null && turn.endedAtMs >= sinceMs)
      .slice(0, limit);
  }
  appendJournal(turnRandom: string, fromSeq: number, toSeq: number, text: string): void {
    this.journals.set(turnRandom, [
      ...(this.journals.get(turnRandom) ?? []),
      { fromSeq, toSeq, text },
    ]);
  }
  readJournal(turnRandom: string, afterSeq: number): readonly { fromSeq: number; text: string }[] {
    return (this.journals.get(turnRandom) ?? []).filter((row) => row.toSeq > afterSeq);
  }
  deleteJournal(turnRandom: string): void {
    this.journals.delete(turnRandom);
  }
  readIdempotency(key: string): { bodySha256: string; turnRandom: string } | null {
    return this.keys.get(key) ?? null;
  }
  writeIdempotency(key: string, bodySha256: string, turnRandom: string, expiresAtMs: number): void {
    this.keys.set(key, { bodySha256, turnRandom, expiresAtMs });
  }
  purge(nowMs: number, journalKeptMs: number): void {
    for (const [key, { expiresAtMs }] of this.keys) if (expiresAtMs <= nowMs) this.keys.delete(key);
    for (const turn of this.turns.values()) {
      if (turn.endedAtMs !== null && turn.endedAtMs <= nowMs - journalKeptMs)
        this.journals.delete(turn.turnRandom);
    }
  }
  nextPurgeMs(journalKeptMs: number): number | null {
    const due = [...this.keys.values()].map((key) => key.expiresAtMs);
    for (const turn of this.turns.values()) {
      if (turn.endedAtMs !== null && this.journals.has(turn.turnRandom))
        due.push(turn.endedAtMs + journalKeptMs);
    }
    return due.length === 0 ? null : Math.min(...due);
  }
  addOutbox(entry: OutboxEntry): void {
    this.outbox.push({ id: this.nextOutboxId, entry });
    this.nextOutboxId += 1;
  }
  readOutbox(limit: number): readonly OutboxRow[] {
    return this.outbox.slice(0, limit);
  }
  deleteOutbox(id: number): void {
    this.outbox = this.outbox.filter((row) => row.id !== id);
  }
  clear(): void {
    this.items.clear();
    this.turns.clear();
    this.journals.clear();
    this.keys.clear();
    this.outbox = [];
  }
}
