import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { probeServer } from "#regional/history/server-probe.ts";

let servers: Server[] = [];
let sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers) server.close();
  sockets = [];
  servers = [];
});

async function listen(serve: (socket: Socket) => void): Promise<URL> {
  const server = createServer((socket) => {
    sockets.push(socket.on("error", () => undefined));
    serve(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return new URL(`postgres://postgres@127.0.0.1:${address.port}/postgres`);
}

test.for(["S", "N"])("accepts a server that answers %s to an SSL request", async (answer) => {
  const asked: Buffer[] = [];
  const url = await listen((socket) => {
    socket.on("data", (bytes: Buffer) => {
      asked.push(bytes);
      socket.write(answer);
    });
  });
  await expect(probeServer(url, 5_000)).resolves.toBeUndefined();
  expect(Buffer.concat(asked).toString("hex")).toBe("0000000804d2162f");
});

test("refuses a server that closes, one that speaks something else, and a silent one", async () => {
  const closing = await listen((socket) => socket.destroy());
  await expect(probeServer(closing, 5_000)).rejects.toThrow(/PROBE_CLOSED|ECONNRESET/);
  const http = await listen((socket) => void socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await expect(probeServer(http, 5_000)).rejects.toThrow("PROBE_NOT_POSTGRES");
  const silent = await listen(() => undefined);
  await expect(probeServer(silent, 50)).rejects.toThrow("PROBE_TIMEOUT");
});

test("leaves no connection behind", async () => {
  const closed = Promise.withResolvers<void>();
  const url = await listen((socket) => {
    socket.on("close", () => closed.resolve()).write("N");
    socket.resume();
  });
  await probeServer(url, 5_000);
  await expect(closed.promise).resolves.toBeUndefined();
});

test("reports a dead port by the socket's code", async () => {
  const url = await listen(() => undefined);
  servers.forEach((server) => server.close());
  await expect(probeServer(url, 5_000)).rejects.toMatchObject({ code: "ECONNREFUSED" });
});
