/** One line about the database: codes only, never content, statements or addresses. */
export interface HistoryLog {
  readonly event:
    /** Connected and migrated. */
    | "history_connected"
    /** The connection failed, broke or hung; a new one is made later. */
    | "history_unavailable"
    /** The database refused one statement (disk full, permission, a bug); the connection is kept. */
    | "history_refused"
    /** An object sent another item for a seq that is taken, though its fence is good: its history has forked. */
    | "history_conflict";
  /** SQLSTATE, a driver's code, or a word of our own. */
  readonly reason: string;
}

/** Takes one line. It must not throw. */
export type OnHistoryLog = (log: HistoryLog) => void;
