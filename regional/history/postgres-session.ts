import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { isDisconnected } from "./database-error.ts";
import { probeServer } from "./server-probe.ts";
import type { DatabaseSession, HistoryDatabase } from "./session.ts";

/** Connections of one cell. History is written in small transactions, one per delivery of an outbox. */
const connectionsMax = 8;
/** A server that accepts and stays silent is given up after this; postgres.js waits 30 s by default. */
const connectTimeoutSeconds = 2;
const idleTimeoutSeconds = 60;
/** Lets a failover behind a name or a proxy reach every connection in the end. */
const lifetimeSecondsMax = 30 * 60;
/** The server ends what outlives every deadline of ours, so that an abandoned transaction keeps no lock. */
const statementTimeoutMs = 30_000;
/** How long `close` lets running statements end. */
const graceSeconds = 1;

/** A pool of postgres.js on `url`, once a server answers there. @throws TypeError for a URL that is none; what the probe throws. */
export async function openPostgresSession(url: string): Promise<DatabaseSession> {
  await probeServer(new URL(url), connectTimeoutSeconds * 1_000);
  const client = postgres(url, {
    max: connectionsMax,
    connect_timeout: connectTimeoutSeconds,
    idle_timeout: idleTimeoutSeconds,
    max_lifetime: lifetimeSecondsMax,
    fetch_types: false,
    onnotice: () => undefined,
    connection: {
      application_name: "meridian",
      statement_timeout: statementTimeoutMs,
      idle_in_transaction_session_timeout: statementTimeoutMs,
    },
  });
  const db: HistoryDatabase = drizzle({ client, casing: "snake_case" });
  const begin = db.transaction.bind(db);
  db.transaction = (body, config) =>
    begin(
      (transaction) => body(transaction).catch((error: unknown) => leaveOrThrow<never>(error)),
      config,
    );
  return {
    db,
    isRemote: true,
    end: (how) => client.end({ timeout: how === "now" ? 0 : graceSeconds }),
  };
}

/**
 * The end of a transaction's body that failed. When its connection is gone the body must not settle: postgres.js 3.4.9
 * would write ROLLBACK to the missing socket, from a timer, which ends the process (porsager/postgres issue 1208). The
 * transaction is rejected all the same, by the connection's close or by the end of the session.
 */
function leaveOrThrow<T>(error: unknown): Promise<T> {
  if (isDisconnected(error)) return new Promise<T>(() => undefined);
  throw error;
}
