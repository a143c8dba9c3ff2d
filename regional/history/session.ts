import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";

/** The database as statements see it: the same for PGlite and postgres.js, a transaction included. */
export type HistoryDatabase = PgDatabase<PgQueryResultHKT>;

/** One client of the database, with its pool. It is made anew rather than repaired. */
export interface DatabaseSession {
  readonly db: HistoryDatabase;
  /**
   * Whether a statement that hangs means that the connection is bad. An embedded database has none: it is only slow, and
   * opening it again would take longer.
   */
  readonly isRemote: boolean;
  /** Cuts it off at once, or lets running statements end first. What still runs is rejected. */
  end(how: "now" | "gracefully"): Promise<void>;
}

/** Makes a session; nothing is sent before the first statement. */
export type OpenSession = () => Promise<DatabaseSession>;
