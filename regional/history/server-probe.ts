import { connect } from "node:net";

/** SSLRequest: its length, then its code (PostgreSQL 15 manual, "Message Formats"). Every version answers one byte. */
const sslRequest = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);
const yes = "S".codePointAt(0);
const no = "N".codePointAt(0);

/** Why no client may be made now; the word becomes the log's reason. */
export class ServerProbeError extends Error {
  override readonly name = "ServerProbeError";
  readonly code: "PROBE_TIMEOUT" | "PROBE_CLOSED" | "PROBE_NOT_POSTGRES";

  constructor(code: ServerProbeError["code"]) {
    super(code);
    this.code = code;
  }
}

/**
 * Resolves when a PostgreSQL (or a pooler of it) answers at `url`. postgres.js must not be the first to find out: against
 * a server that accepts and closes it connects again hundreds of times a second until its client is ended, and what it
 * opens to a silent server stays open after that. @throws ServerProbeError, or the socket's own error (ECONNREFUSED).
 */
export async function probeServer(url: URL, timeoutMs: number): Promise<void> {
  const host = url.hostname.replace(/^\[|\]$/g, "") || "localhost";
  const socket = connect({ host, port: Number(url.port || "5432") });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.setTimeout(timeoutMs, () => reject(new ServerProbeError("PROBE_TIMEOUT")));
      socket.on("error", reject);
      socket.on("close", () => reject(new ServerProbeError("PROBE_CLOSED")));
      socket.on("connect", () => socket.write(sslRequest));
      socket.on("data", (answer: Buffer) => {
        if (answer[0] === yes || answer[0] === no) resolve();
        else reject(new ServerProbeError("PROBE_NOT_POSTGRES"));
      });
    });
  } finally {
    socket.destroy();
  }
}
