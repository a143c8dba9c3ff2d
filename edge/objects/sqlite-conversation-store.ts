import type {
  ConversationHead,
  ConversationStore,
  OutboxEntry,
  OutboxRow,
  StoredItem,
  StoredTurn,
} from "#shared/conversation/store.ts";
import { invariant } from "#shared/errors/invariant.ts";

/** Characters of one stored text: a row holds 2 MB, a UTF-16 unit at most 3 bytes of UTF-8. */
const textCharactersMax = 600_000;

/** One statement creates all tables: a new conversation pays for it on its first prompt. */
const schema = `
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, turn_random TEXT,
  json TEXT NOT NULL, created_at_ms INTEGER NOT NULL, is_tombstone INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS turns (turn_random TEXT PRIMARY KEY, ended_at_ms INTEGER, turn TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (turn_random TEXT NOT NULL, part INTEGER NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (turn_random, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (turn_random TEXT NOT NULL, from_seq INTEGER NOT NULL, part INTEGER NOT NULL,
  to_seq INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (turn_random, from_seq, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, body_sha256 TEXT NOT NULL, turn_random TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL);
`;

const tables = ["items", "turns", "texts", "journal", "idempotency", "outbox"] as const;

interface ItemRow extends Record<string, SqlStorageValue> {
  seq: number;
  id: string;
  type: string;
  turn_random: string | null;
  json: string;
  created_at_ms: number;
  is_tombstone: number;
}

/** The columns of {@link itemOfColumns}, in its order. */
const itemColumns = "seq, id, type, turn_random, json, created_at_ms, is_tombstone";

/** A column that its table declares as TEXT NOT NULL. */
function textOf(value: SqlStorageValue | undefined): string {
  invariant(typeof value === "string", "a column of text");
  return value;
}

/** An item from its columns: a history is read at each turn, and rows as objects cost twice as much. */
function itemOfColumns(columns: readonly SqlStorageValue[]): StoredItem {
  const [seq, id, type, turnRandom, json, createdAtMs, isTombstone] = columns;
  return {
    seq: Number(seq),
    id: textOf(id),
    type: textOf(type),
    turnRandom: typeof turnRandom === "string" ? turnRandom : null,
    json: textOf(json),
    createdAtMs: Number(createdAtMs),
    isTombstone: isTombstone === 1,
  };
}

function itemOf(row: ItemRow): StoredItem {
  return {
    seq: row.seq,
    id: row.id,
    type: row.type,
    turnRandom: row.turn_random,
    json: row.json,
    createdAtMs: row.created_at_ms,
    isTombstone: row.is_tombstone === 1,
  };
}

/** Cuts a text into pieces that fit a row each; at least one piece. Never between the halves of a surrogate pair. */
function pieces(text: string): string[] {
  const found: string[] = [];
  let start = 0;
  while (text.length - start > textCharactersMax) {
    let end = start + textCharactersMax;
    const code = text.charCodeAt(end - 1);
    if (code >= 0xd800 && code < 0xdc00) end -= 1;
    found.push(text.slice(start, end));
    start = end;
  }
  found.push(text.slice(start));
  return found;
}

/** Fields that rows of an earlier version lack: such a turn is one that a Worker drives. */
const laterFields = {
  continuations: 0,
  surplusTokens: 0,
  drivenBy: "worker",
  isBackground: false,
  dispatchDueMs: null,
  dispatchFailures: 0,
  restarts: 0,
  seams: 0,
  restartedAfterSeq: null,
  takenOverAtSeq: null,
  cancelledAtMs: null,
  reservationId: null,
} as const satisfies Partial<StoredTurn>;

/** The machine's store on a Durable Object's SQLite; docs/storage-schema.md describes every table. */
export class SqliteConversationStore implements ConversationStore {
  readonly #sql: SqlStorage;
  #head: ConversationHead | null | undefined;
  #hasTables = false;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Reads see an empty conversation until the first write: an id that was never used costs no table. */
  #tablesExist(): boolean {
    if (!this.#hasTables) {
      const found = this.#sql
        .exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'outbox'")
        .toArray();
      this.#hasTables = found.length > 0;
    }
    return this.#hasTables;
  }

  #createTables(): void {
    if (this.#hasTables) return;
    this.#sql.exec(schema);
    this.#hasTables = true;
  }

  /** Drops what is cached in memory: after a transaction that did not commit, storage is the truth. */
  forget(): void {
    this.#head = undefined;
    this.#hasTables = false;
  }

  readHead(): ConversationHead | null {
    if (this.#head !== undefined) return this.#head;
    if (!this.#tablesExist()) return null;
    const row = this.#sql
      .exec<{ value: string }>("SELECT value FROM meta WHERE key = 'head'")
      .toArray()[0];
    this.#head = row === undefined ? null : (JSON.parse(row.value) as ConversationHead);
    return this.#head;
  }

  writeHead(head: ConversationHead): void {
    this.#createTables();
    this.#sql.exec(
      "INSERT OR REPLACE INTO meta (key, value) VALUES ('head', ?)",
      JSON.stringify(head),
    );
    this.#head = head;
  }

  appendItem(item: StoredItem): void {
    this.#createTables();
    this.#sql.exec(
      "INSERT INTO items (seq, id, type, turn_random, json, created_at_ms, is_tombstone) VALUES (?, ?, ?, ?, ?, ?, ?)",
      item.seq,
      item.id,
      item.type,
      item.turnRandom,
      item.json,
      item.createdAtMs,
      item.isTombstone ? 1 : 0,
    );
  }

  replaceItem(item: StoredItem): void {
    this.#sql.exec(
      "UPDATE items SET json = ?, is_tombstone = ? WHERE seq = ?",
      item.json,
      item.isTombstone ? 1 : 0,
      item.seq,
    );
  }

  readItem(seq: number): StoredItem | null {
    if (!this.#tablesExist()) return null;
    const row = this.#sql.exec<ItemRow>("SELECT * FROM items WHERE seq = ?", seq).toArray()[0];
    return row === undefined ? null : itemOf(row);
  }

  findItem(itemId: string): StoredItem | null {
    if (!this.#tablesExist()) return null;
    const row = this.#sql.exec<ItemRow>("SELECT * FROM items WHERE id = ?", itemId).toArray()[0];
    return row === undefined ? null : itemOf(row);
  }

  readItems(fromSeq: number, toSeq: number, limit: number): readonly StoredItem[] {
    if (!this.#tablesExist()) return [];
    const rows = this.#sql.exec(
      `SELECT ${itemColumns} FROM items WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?`,
      fromSeq,
      toSeq,
      limit,
    );
    return Array.from(rows.raw(), itemOfColumns);
  }

  readItemsDescending(fromSeq: number, toSeq: number, limit: number): readonly StoredItem[] {
    if (!this.#tablesExist()) return [];
    return this.#sql
      .exec<ItemRow>(
        "SELECT * FROM items WHERE seq BETWEEN ? AND ? ORDER BY seq DESC LIMIT ?",
        fromSeq,
        toSeq,
        limit,
      )
      .toArray()
      .map(itemOf);
  }

  writeTurn(turn: StoredTurn): void {
    this.#createTables();
    const { body, ...rest } = turn;
    // The body is written once, at the end, and may be larger than a row.
    if (body === null) {
      // A running turn has not had one yet.
      if (turn.state !== "running")
        this.#sql.exec("DELETE FROM texts WHERE turn_random = ?", turn.turnRandom);
    } else {
      pieces(body).forEach((text, part) => {
        this.#sql.exec(
          "INSERT OR REPLACE INTO texts (turn_random, part, text) VALUES (?, ?, ?)",
          turn.turnRandom,
          part,
          text,
        );
      });
    }
    this.#sql.exec(
      "INSERT OR REPLACE INTO turns (turn_random, ended_at_ms, turn) VALUES (?, ?, ?)",
      turn.turnRandom,
      turn.endedAtMs,
      JSON.stringify({ ...rest, hasBody: body !== null }),
    );
  }

  #turnOf(json: string): StoredTurn {
    const { hasBody, ...rest }: Omit<StoredTurn, "body"> & { hasBody: boolean } = {
      ...laterFields,
      ...(JSON.parse(json) as Omit<StoredTurn, "body"> & { hasBody: boolean }),
    };
    if (!hasBody) return { ...rest, body: null };
    const parts = this.#sql
      .exec<{ text: string }>(
        "SELECT text FROM texts WHERE turn_random = ? ORDER BY part",
        rest.turnRandom,
      )
      .toArray();
    return { ...rest, body: parts.map((row) => row.text).join("") };
  }

  readTurn(turnRandom: string): StoredTurn | null {
    if (!this.#tablesExist()) return null;
    const row = this.#sql
      .exec<{ turn: string }>("SELECT turn FROM turns WHERE turn_random = ?", turnRandom)
      .toArray()[0];
    return row === undefined ? null : this.#turnOf(row.turn);
  }

  readTurnsEndedSince(sinceMs: number, limit: number): readonly StoredTurn[] {
    if (!this.#tablesExist()) return [];
    return this.#sql
      .exec<{ turn: string }>(
        "SELECT turn FROM turns WHERE ended_at_ms >= ? ORDER BY ended_at_ms DESC LIMIT ?",
        sinceMs,
        limit,
      )
      .toArray()
      .map((row) => this.#turnOf(row.turn));
  }

  appendJournal(turnRandom: string, fromSeq: number, toSeq: number, text: string): void {
    this.#createTables();
    pieces(text).forEach((piece, part) => {
      this.#sql.exec(
        "INSERT INTO journal (turn_random, from_seq, part, to_seq, text) VALUES (?, ?, ?, ?, ?)",
        turnRandom,
        fromSeq,
        part,
        toSeq,
        piece,
      );
    });
  }

  readJournal(turnRandom: string, afterSeq: number): readonly { fromSeq: number; text: string }[] {
    if (!this.#tablesExist()) return [];
    const rows = this.#sql
      .exec<{ from_seq: number; text: string }>(
        "SELECT from_seq, text FROM journal WHERE turn_random = ? AND to_seq > ? ORDER BY from_seq, part",
        turnRandom,
        afterSeq,
      )
      .toArray();
    const joined: { fromSeq: number; text: string }[] = [];
    for (const row of rows) {
      const last = joined.at(-1);
      if (last !== undefined && last.fromSeq === row.from_seq) last.text += row.text;
      else joined.push({ fromSeq: row.from_seq, text: row.text });
    }
    return joined;
  }

  deleteJournal(turnRandom: string): void {
    this.#sql.exec("DELETE FROM journal WHERE turn_random = ?", turnRandom);
  }

  readIdempotency(key: string): { bodySha256: string; turnRandom: string } | null {
    if (!this.#tablesExist()) return null;
    const row = this.#sql
      .exec<{ body_sha256: string; turn_random: string }>(
        "SELECT body_sha256, turn_random FROM idempotency WHERE key = ?",
        key,
      )
      .toArray()[0];
    return row === undefined ? null : { bodySha256: row.body_sha256, turnRandom: row.turn_random };
  }

  writeIdempotency(key: string, bodySha256: string, turnRandom: string, expiresAtMs: number): void {
    this.#createTables();
    this.#sql.exec(
      "INSERT OR REPLACE INTO idempotency (key, body_sha256, turn_random, expires_at_ms) VALUES (?, ?, ?, ?)",
      key,
      bodySha256,
      turnRandom,
      expiresAtMs,
    );
  }

  purge(nowMs: number, journalKeptMs: number): void {
    if (!this.#tablesExist()) return;
    this.#sql.exec("DELETE FROM idempotency WHERE expires_at_ms <= ?", nowMs);
    this.#sql.exec(
      "DELETE FROM journal WHERE turn_random IN (SELECT turn_random FROM turns WHERE ended_at_ms <= ?)",
      nowMs - journalKeptMs,
    );
  }

  nextPurgeMs(journalKeptMs: number): number | null {
    if (!this.#tablesExist()) return null;
    const row = this.#sql
      .exec<{ due: number | null }>(
        `SELECT MIN(due) AS due FROM (
           SELECT MIN(expires_at_ms) AS due FROM idempotency
           UNION ALL
           SELECT MIN(t.ended_at_ms) + ? AS due FROM turns t
            WHERE t.ended_at_ms IS NOT NULL AND EXISTS (SELECT 1 FROM journal j WHERE j.turn_random = t.turn_random))`,
        journalKeptMs,
      )
      .toArray()[0];
    return row?.due ?? null;
  }

  addOutbox(entry: OutboxEntry): void {
    this.#createTables();
    this.#sql.exec("INSERT INTO outbox (entry) VALUES (?)", JSON.stringify(entry));
  }

  readOutbox(limit: number): readonly OutboxRow[] {
    if (!this.#tablesExist()) return [];
    return this.#sql
      .exec<{ id: number; entry: string }>(
        "SELECT id, entry FROM outbox ORDER BY id LIMIT ?",
        limit,
      )
      .toArray()
      .map(({ id, entry }) => ({ id, entry: JSON.parse(entry) as OutboxEntry }));
  }

  deleteOutbox(id: number): void {
    this.#sql.exec("DELETE FROM outbox WHERE id = ?", id);
  }

  clear(): void {
    for (const table of tables) this.#sql.exec(`DELETE FROM ${table}`);
  }
}
