import type { Socket } from "node:net";
import type { PGlite } from "@electric-sql/pglite";
import { ClientMessageReader } from "./client-messages.ts";
import type { ClientMessage } from "./client-messages.ts";
import type { Turnstile } from "./turnstile.ts";

/** A client that keeps the only session without a word for longer is cut off, in ms: it would stop all others. */
const silentTurnMsMax = 30_000;

/** Sync: ends a sequence of the extended protocol, and its error state. */
const syncMessage = Uint8Array.of(0x53, 0, 0, 0, 4);

/**
 * Serves one client until it goes. PGlite is one session for all clients, so a client keeps the turn from its first
 * message until the database is idle again: to the Sync of a Parse, Bind, Execute sequence, and to the end of its
 * transaction. Between the messages of a sequence another client's would otherwise replace the unnamed statement or
 * portal, and each would get the other's rows.
 */
export async function serveClient(socket: Socket, db: PGlite, turnstile: Turnstile): Promise<void> {
  const reader = new ClientMessageReader();
  let hasTurn = false;
  socket.setNoDelay(true);
  socket.setTimeout(silentTurnMsMax, () => {
    if (hasTurn) socket.destroy();
  });
  try {
    for await (const chunk of socket) {
      reader.push(chunk);
      for (let message = reader.next(); message !== null; message = reader.next()) {
        if (isFarewell(message)) return;
        if (message.kind === "sslRequest") {
          socket.write("N");
          continue;
        }
        if (!hasTurn) {
          await turnstile.enter();
          hasTurn = true;
        }
        await db.execProtocolRawStream(message.bytes, {
          onRawData: (answer) => {
            if (socket.writable) socket.write(Buffer.from(answer));
          },
        });
        if (endsSequence(message) && !db.isInTransaction()) {
          hasTurn = false;
          turnstile.leave();
        }
      }
    }
  } catch {
    // A reset, or bytes that are no protocol: the client is gone either way, and what it left open is undone below.
  } finally {
    socket.destroy();
    if (hasTurn) {
      await leaveIdle(db);
      turnstile.leave();
    }
  }
}

function isFarewell(message: ClientMessage): boolean {
  return message.kind === "cancelRequest" || message.type === "X";
}

/** After these the server sends ReadyForQuery, so that the transaction's state is known. */
function endsSequence(message: ClientMessage): boolean {
  return message.kind === "startup" || ["S", "Q", "F"].includes(message.type);
}

/** Ends what a client that went away had begun: its sequence, then its transaction. */
async function leaveIdle(db: PGlite): Promise<void> {
  try {
    await db.execProtocolRawStream(syncMessage, { onRawData: () => undefined });
    if (db.isInTransaction()) await db.exec("ROLLBACK");
  } catch {
    // The database is closing.
  }
}
