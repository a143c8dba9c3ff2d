import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import type { DatabaseSession } from "./session.ts";

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

/** A pool of postgres.js on `url`. @throws TypeError for a URL that is none. */
export function openPostgresSession(url: string): DatabaseSession {
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
  return {
    db: drizzle({ client, casing: "snake_case" }),
    isRemote: true,
    end: (how) => client.end({ timeout: how === "now" ? 0 : graceSeconds }),
  };
}
