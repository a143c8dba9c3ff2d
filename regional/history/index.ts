import type {
  HistoryCommand,
  HistoryReply,
  HistoryStore,
} from "#shared/protocol/internal/history.ts";
import type { CanaryStore } from "../ports/canary-store.ts";
import type { ScalingStore } from "../ports/scaling-store.ts";
import { append } from "./append.ts";
import { createCanaryStore } from "./canary-store.ts";
import { DatabaseConnection } from "./connection.ts";
import { openEmbeddedSession } from "./embedded-session.ts";
import { deleteItem, eraseConversation } from "./erase.ts";
import type { OnHistoryLog } from "./log.ts";
import { applyMigrations } from "./migrations.ts";
import { releaseConversation, sealConversation } from "./move.ts";
import { openPostgresSession } from "./postgres-session.ts";
import { readItems } from "./read.ts";
import { createScalingStore } from "./scaling-store.ts";
import type { HistoryDatabase } from "./session.ts";
import { insertUsage } from "./usage.ts";

export type { HistoryLog } from "./log.ts";

export interface HistoryOptions {
  /** `embedded` is PGlite in `<dataDir>/postgres`; otherwise the URL of a PostgreSQL 15 or later. */
  readonly database: string;
  readonly dataDir: string;
  /** The folder that drizzle-kit writes. */
  readonly migrationsDir: string;
  readonly onLog: OnHistoryLog;
  /** Milliseconds since the epoch; deadlines are compared with it. The system's clock by default. */
  readonly clock?: () => number;
}

/** What a cell keeps in its region's database. */
export interface RegionalDatabase extends HistoryStore {
  /** What the scalers of the region share; it uses the same connection. */
  scalingOf(region: string): ScalingStore;
  /** What a cell keeps of its canaries; it uses the same connection. */
  canariesOf(cell: string): CanaryStore;
}

/**
 * The history of one region. Resolves at once, whether or not the database can be reached: connecting and migrating begin
 * in the background, and are tried again by later calls, with a growing pause. Every call settles by its deadline;
 * `unavailable` means that the outcome is unknown, and each call is safe to repeat.
 */
export async function openHistory(options: HistoryOptions): Promise<RegionalDatabase> {
  const { database, dataDir, migrationsDir, onLog, clock = Date.now } = options;
  const connection = new DatabaseConnection({
    open: async () =>
      database === "embedded" ? openEmbeddedSession(dataDir) : openPostgresSession(database),
    migrate: (db) => applyMigrations(db, migrationsDir),
    onLog,
    clock,
  });
  connection.prepare();

  const dispatch = (db: HistoryDatabase, command: HistoryCommand): Promise<HistoryReply> => {
    switch (command.kind) {
      case "append":
        return append(db, command, onLog);
      case "deleteItem":
        return deleteItem(db, command, clock());
      case "erase":
        return eraseConversation(db, command, clock());
      case "release":
        return releaseConversation(db, command);
      case "seal":
        return sealConversation(db, command);
    }
  };
  return {
    execute: async (command, deadlineMs) => {
      const result = await connection.call(deadlineMs, (db) => dispatch(db, command));
      return result.isAnswered ? result.value : { kind: "unavailable" };
    },
    recordUsage: async (usage, deadlineMs) => {
      const result = await connection.call(deadlineMs, (db) => insertUsage(db, usage));
      return result.isAnswered ? "recorded" : "unavailable";
    },
    read: async (tenant, conversationId, afterSeq, limit, deadlineMs) => {
      const page = { tenant, conversationId, afterSeq, limit };
      const result = await connection.call(deadlineMs, (db) => readItems(db, page));
      return result.isAnswered ? result.value : "unavailable";
    },
    ping: async (deadlineMs) => {
      const result = await connection.call(deadlineMs, (db) => db.execute("select 1"));
      return result.isAnswered;
    },
    scalingOf: (region) =>
      createScalingStore(region, (deadlineMs, operation) => connection.call(deadlineMs, operation)),
    canariesOf: (cell) =>
      createCanaryStore(cell, (deadlineMs, operation) => connection.call(deadlineMs, operation)),
    close: () => connection.close(),
  };
}
