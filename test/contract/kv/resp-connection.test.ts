import { once } from "node:events";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as z from "zod";

import { RespConnection } from "#dev/upstash/resp-connection.ts";

let server: Server;
let connection: RespConnection;
/** What the server does with each connection that comes, in order. */
let behaviours: ((socket: Socket) => void)[] = [];

beforeEach(async () => {
  server = createServer((socket) => {
    socket.on("error", () => undefined);
    behaviours.shift()?.(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = z.object({ port: z.int() }).parse(server.address());
  connection = new RespConnection({ host: "127.0.0.1", port });
});
afterEach(() => {
  connection.close();
  server.close();
});

const answering = (bytes: string) => (socket: Socket) => {
  socket.on("data", () => socket.write(bytes, "latin1"));
};

describe("the connection to a redis-server", () => {
  test("rejects what waits when the server closes, and connects anew for the next command", async () => {
    behaviours = [(socket) => socket.on("data", () => socket.end()), answering("+OK\r\n")];
    const lost = await Promise.allSettled([connection.send([["A"]]), connection.send([["B"]])]);
    expect(lost.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await connection.send([["C"]])).toEqual([{ status: "OK" }]);
  });

  test("rejects when the server is no redis-server", async () => {
    behaviours = [answering("HTTP/1.1 400 Bad Request\r\n\r\n")];
    await expect(connection.send([["PING"]])).rejects.toThrow(/does not speak RESP2/);
  });

  test("keeps the order of answers over several senders", async () => {
    behaviours = [answering(":1\r\n:2\r\n:3\r\n")];
    const [first, second] = await Promise.all([
      connection.send([["A"], ["B"]]),
      connection.send([["C"]]),
    ]);
    expect([first, second]).toEqual([[1, 2], [3]]);
  });
});
