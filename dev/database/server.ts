import { createServer } from "node:net";
import type { Socket } from "node:net";
import { PGlite } from "@electric-sql/pglite";
import { serveClient } from "./client.ts";
import { Turnstile } from "./turnstile.ts";

/** A PGlite that several processes reach as PostgreSQL. */
export interface DatabaseServer {
  readonly url: string;
  /** Cuts its clients off and closes the database; the folder can be opened again. */
  close(): Promise<void>;
}

/** More than the pools of a few cells and a psql need; each costs a socket only. */
const clientsMax = 100;

/**
 * Serves the PGlite in `dataDir` on 127.0.0.1 in PostgreSQL's protocol. It behaves as one session: a transaction of one
 * client makes the others wait, and settings, advisory locks of the session and prepared statements are everybody's.
 * So a client works as with any server, whatever its pool and with or without prepared statements, if it sets nothing
 * for its session, takes advisory locks for a transaction only (`pg_advisory_xact_lock`), and keeps transactions
 * short. No COPY, no LISTEN, no cancelling.
 *
 * Not `PGLiteSocketServer` of @electric-sql/pglite-socket 0.2.17: it lets the messages of different clients interleave
 * outside of transactions, and 161 of 200 concurrent parameterised queries of one postgres.js pool got another
 * query's rows.
 *
 * @throws Error when the folder cannot be opened or the port is taken.
 */
export async function startDatabase(options: {
  readonly dataDir: string;
  readonly port: number;
}): Promise<DatabaseServer> {
  const db = await PGlite.create({ dataDir: options.dataDir });
  const turnstile = new Turnstile();
  const clients = new Set<Promise<void>>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    // Before the first read: an error without a listener would end the process.
    socket.on("error", () => undefined);
    sockets.add(socket);
    const served = serveClient(socket, db, turnstile).finally(() => {
      sockets.delete(socket);
      clients.delete(served);
    });
    clients.add(served);
  });
  server.maxConnections = clientsMax;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port, "127.0.0.1", resolve);
    });
  } catch (error) {
    await db.close();
    throw error;
  }
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await Promise.all(clients);
      await db.close();
    },
  };
}
