import { once } from "node:events";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { LookupFunction } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEngineHttp, readWhole } from "#regional/backends/engine-http.ts";
import type { EngineHttp } from "#regional/backends/engine-http.ts";
import { createShardLookup } from "#regional/backends/shard-lookup.ts";

let server: Server;
let port: number;
let received: number;
let http: EngineHttp | null = null;

beforeEach(async () => {
  received = 0;
  server = createServer((_request, response) => {
    received += 1;
    response.end("here");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  port = typeof address === "object" && address !== null ? address.port : 0;
});
afterEach(async () => {
  http?.close();
  server.close();
  await once(server, "close");
});

/** A resolver by which every name is this machine, as a rebound one would be. */
const lookup: LookupFunction = (_hostname, options, callback) =>
  options.all === true
    ? callback(null, [{ address: "127.0.0.1", family: 4 }])
    : callback(null, "127.0.0.1", 4);

async function ask(hostname: string, allowsPrivate: boolean): Promise<string> {
  const onRefused = (): void => undefined;
  http = createEngineHttp(false, createShardLookup({ allowsPrivate, onRefused, lookup }));
  const url = new URL(`http://${hostname}:${port}/health`);
  const call = { method: "GET", url, headers: {}, body: null } as const;
  const response = await http.send(call, AbortSignal.timeout(5_000));
  if (response.kind === "unreachable") return response.kind;
  return Buffer.from((await readWhole(response.message, 100)) ?? []).toString("utf8");
}

describe("a call to a shard", () => {
  it("never leaves when the shard's name was rebound to a private address", async () => {
    expect(await ask("gpu.example.com", false)).toBe("unreachable");
    expect(received).toBe(0);
  });

  it("goes to a private address that the topology allows", async () => {
    expect(await ask("gpu.internal", true)).toBe("here");
  });

  it.each(["localhost", "127.0.0.1"])(
    "goes to %s, which the topology names itself",
    async (host) => {
      expect(await ask(host, false)).toBe("here");
    },
  );
});
