import { connect, createServer } from "node:net";
import type { Socket } from "node:net";

/** What the proxy does to connections, open ones included. */
export type ProxyMode =
  | "pass"
  /** Accepts, and forwards nothing in either direction. */
  | "hang"
  /** Accepts and closes at once. */
  | "close"
  /** Cuts the connection when the server reports a commit, before the client hears of it. */
  | "cutAtCommit"
  /** Cuts the connection inside a transaction, when its first statement after BEGIN is answered. */
  | "cutInTransaction";

/** A TCP proxy in front of a PostgreSQL server. */
export interface FaultyProxy {
  readonly url: string;
  /** How many connections it has accepted. */
  readonly accepted: () => number;
  /** How many it has cut by `cutAtCommit` and `cutInTransaction`. */
  readonly cut: () => number;
  setMode(mode: ProxyMode): void;
  close(): Promise<void>;
}

export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let mode: ProxyMode = "pass";
  let accepted = 0;
  let cut = 0;
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((socket) => {
    accepted += 1;
    const client = keep(socket);
    if (mode === "close") {
      client.destroy();
      return;
    }
    const upstream = keep(connect(Number(port), hostname));
    let hasBegun = false;
    const breakOff = (): void => {
      cut += 1;
      client.destroy();
      upstream.destroy();
    };
    client.on("data", (bytes: Buffer) => {
      if (mode !== "hang") upstream.write(bytes);
    });
    upstream.on("data", (bytes: Buffer) => {
      if (mode === "hang") return;
      if (mode === "cutAtCommit" && bytes.includes("COMMIT\0")) return breakOff();
      if (mode === "cutInTransaction" && hasBegun) return breakOff();
      hasBegun = bytes.includes("BEGIN\0");
      client.write(bytes);
    });
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the proxy has no port");
  return {
    url: target.replace(`:${port}`, `:${address.port}`),
    accepted: () => accepted,
    cut: () => cut,
    setMode(next) {
      mode = next;
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
