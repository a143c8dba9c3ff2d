import type { HistoryStore } from "#shared/protocol/internal/history.ts";

/** One line about the database: codes and counts, never content, statements or addresses. */
export interface HistoryLog {
  readonly event:
    | "history_connected"
    | "history_unavailable"
    | "history_refused"
    | "history_conflict";
  /** SQLSTATE, driver code or a word of our own. */
  readonly reason: string;
}

export interface HistoryOptions {
  /** `embedded` is PGlite in `<dataDir>/postgres`; otherwise the URL of a PostgreSQL 15 or later. */
  readonly database: string;
  readonly dataDir: string;
  /** The folder that drizzle-kit writes. */
  readonly migrationsDir: string;
  readonly onLog: (log: HistoryLog) => void;
  /** Milliseconds since the epoch; deadlines are compared with it. The system's clock by default. */
  readonly clock?: () => number;
}

/**
 * The history of one region. Resolves whether or not the database can be reached.
 */
export async function openHistory(options: HistoryOptions): Promise<HistoryStore> {
  throw new Error(`not open: ${options.database}`);
}
