import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { HistoryUsage } from "../protocol/internal/history.ts";
import type { ItemRecord } from "../protocol/internal/turn-outcome.ts";
import type { CellId, ShardId } from "../residency/brands.ts";
import type { Home } from "../routing/next-home.ts";
import type { ConversationMove } from "./move-state.ts";
import type { ConversationScope, TurnTemplate } from "./rpc.ts";

/** What is kept of a home beside its shard. */
export type HomeHistory = Omit<Home, "shard">;

/** The one row that heads a conversation. */
export interface ConversationHead {
  readonly v: 1;
  readonly tenant: ConversationScope["tenant"];
  readonly jurisdiction: ConversationScope["jurisdiction"];
  readonly conversationId: ConversationScope["conversationId"];
  readonly createdAtMs: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Raised each time the object is constructed; the fence of every effect outside. */
  readonly incarnation: number;
  /** Seq of the next item; items are gapless from 1. */
  readonly nextSeq: number;
  /** Items up to this seq are durable in the region's database: the outbox is all that comes after. */
  readonly deliveredSeq: number;
  /** The cell that the next turn goes to; null before the first turn. */
  readonly homeCell: CellId | null;
  readonly homeShard: ShardId | null;
  /** How often the home was passed by, and its moves; absent before the first turn's end. */
  readonly home?: HomeHistory;
  /** The cell whose region's database holds the history. */
  readonly historyCell: CellId;
  /** How long streams are kept after their end, ms; null before the first turn. */
  readonly streamsKeptMs: number | null;
  readonly runningTurnRandom: string | null;
  readonly lastTurnRandom: string | null;
  /** `erasing`: the content is gone here, the database has yet to confirm. */
  readonly erasure: "none" | "erasing" | "erased";
  /** The move that is under way, or the last one; absent before the first. */
  readonly move?: ConversationMove | null;
}

/** An item of the history. A tombstone keeps its seq and holds no content. */
export interface StoredItem extends ItemRecord {
  readonly seq: number;
  readonly turnRandom: string | null;
  readonly createdAtMs: number;
  readonly isTombstone: boolean;
}

/** A turn. */
export interface StoredTurn {
  readonly v: 1;
  readonly turnRandom: string;
  readonly turnId: string;
  readonly state: "running" | "completed" | "incomplete" | "failed" | "cancelled";
  readonly attempt: number;
  readonly cell: CellId;
  readonly template: TurnTemplate;
  readonly requestId: string;
  readonly traceparent: string;
  /** Seq range of the turn's own input items; `inputToSeq < inputFromSeq` when it had none. */
  readonly inputFromSeq: number;
  readonly inputToSeq: number;
  /** Seq of the last item once the turn has ended. */
  readonly lastSeq: number;
  readonly isStored: boolean;
  readonly deadlineMs: number;
  readonly createdAtMs: number;
  /** When the object last heard of the running turn: begin, checkpoint, pull. */
  readonly heardAtMs: number;
  readonly endedAtMs: number | null;
  readonly journalToSeq: number;
  readonly pullFailures: number;
  /** Who puts the turn to its cell and reads it: the Worker of its client, or the object when that one is gone or none is. */
  readonly drivenBy: "worker" | "object";
  readonly isBackground: boolean;
  /** When the object must put the attempt to its cell, ms since the epoch; null once it is there, or the Worker's to do. */
  readonly dispatchDueMs: number | null;
  /** Attempts in a row that a cell refused or that could not be put to it. */
  readonly dispatchFailures: number;
  /** Attempts that the object began because a cell had lost an earlier one. */
  readonly restarts: number;
  /** Seams that the running attempt has shown so far, as far as the object read it. */
  readonly seams: number;
  /**
   * The journal's end when an attempt was lost whose frames a client may have seen past it; null while none was. Frames
   * after it may differ from what was seen.
   */
  readonly restartedAfterSeq: number | null;
  /** The journal's end when the object took the turn over from a Worker; null while the Worker has it. */
  readonly takenOverAtSeq: number | null;
  /** When the client asked for the end of the turn, ms since the epoch. */
  readonly cancelledAtMs: number | null;
  /** The ledger's reservation that the end settles; null when the tenant has no limits. */
  readonly reservationId: string | null;
  /** How often a begun answer was continued on another shard or cell, as far as the object heard of it. */
  readonly continuations: number;
  /** Tokens that the journaled frames hold beyond one for each piece, as far as the object heard of it. */
  readonly surplusTokens: number;
  readonly body: string | null;
  readonly error: ErrorOutcome | null;
  readonly shard: ShardId | null;
}

/** An effect that must happen outside the object, kept until it is confirmed. */
export type OutboxEntry =
  | { readonly kind: "usage"; readonly usage: HistoryUsage }
  /** Replaces a reservation of the ledger by what was used; the ledger takes it once. */
  | {
      readonly kind: "settle";
      readonly reservationId: string;
      readonly model: string;
      readonly promptTokens: number;
      readonly completionTokens: number;
    }
  | { readonly kind: "deleteItem"; readonly seq: number }
  | { readonly kind: "erase" }
  /** Has a region forget the conversation: another one keeps it. */
  | {
      readonly kind: "release";
      readonly cell: CellId;
      readonly fence: number;
      readonly usage: readonly HistoryUsage[];
    }
  /** Tells a cell to stop a turn and to forget its frames. */
  | {
      readonly kind: "abort";
      readonly cell: CellId;
      readonly turnId: string;
      readonly attempt: number;
    };

export interface OutboxRow {
  readonly id: number;
  readonly entry: OutboxEntry;
}

/**
 * What the machine stores, behind a port: SQLite in the object, maps in simulation. All calls are synchronous; the shell
 * runs each step inside one transaction, so that a step is durable whole or not at all.
 */
export interface ConversationStore {
  readHead(): ConversationHead | null;
  writeHead(head: ConversationHead): void;
  appendItem(item: StoredItem): void;
  replaceItem(item: StoredItem): void;
  readItem(seq: number): StoredItem | null;
  findItem(itemId: string): StoredItem | null;
  /** Items with fromSeq ≤ seq ≤ toSeq, ascending, tombstones included, at most `limit`. */
  readItems(fromSeq: number, toSeq: number, limit: number): readonly StoredItem[];
  /** As readItems, from the highest seq down. */
  readItemsDescending(fromSeq: number, toSeq: number, limit: number): readonly StoredItem[];
  writeTurn(turn: StoredTurn): void;
  readTurn(turnRandom: string): StoredTurn | null;
  /** Turns that ended at or after `sinceMs`, at most `limit`, latest first. */
  readTurnsEndedSince(sinceMs: number, limit: number): readonly StoredTurn[];
  appendJournal(turnRandom: string, fromSeq: number, toSeq: number, text: string): void;
  /** The journal's texts in order, of rows that end after `afterSeq`. */
  readJournal(
    turnRandom: string,
    afterSeq: number,
  ): readonly { readonly fromSeq: number; readonly text: string }[];
  deleteJournal(turnRandom: string): void;
  readIdempotency(key: string): { readonly bodySha256: string; readonly turnRandom: string } | null;
  writeIdempotency(key: string, bodySha256: string, turnRandom: string, expiresAtMs: number): void;
  /** Forgets expired keys, and the journals of turns that ended `journalKeptMs` ago or earlier. */
  purge(nowMs: number, journalKeptMs: number): void;
  /** When `purge` next has something to forget, ms since the epoch; null when never. */
  nextPurgeMs(journalKeptMs: number): number | null;
  addOutbox(entry: OutboxEntry): void;
  readOutbox(limit: number): readonly OutboxRow[];
  deleteOutbox(id: number): void;
  /** Deletes all items, turns, journals, idempotency keys and outbox rows. The head stays. */
  clear(): void;
}
