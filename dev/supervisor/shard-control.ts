import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import * as z from "zod";
import type { ScaledEngines } from "./scaled-engines.ts";

/** Where the scaler of a cell has engines started and ended. */
export interface ShardControl {
  readonly url: string;
  /** What a caller must show. */
  readonly token: string;
  close(): void;
}

export interface ShardControlOptions {
  readonly engines: ScaledEngines;
  readonly regionOf: (shard: string) => string;
}

const bodyBytesMax = 4_096;
const leftSchema = z.strictObject({ shard: z.string().max(128) });
const orderSchema = z.strictObject({
  shard: z.string().max(128),
  running: z.boolean(),
  token: z.int().min(0),
});

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > bodyBytesMax) return null;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    return null;
  }
}

/**
 * Serves on loopback `GET /shards` (what is done with each engine), `PUT /shards` (the scaler's order) and `PUT /shards/left` (the
 * shard's own cell has nothing there any more). An order under a lower fencing token than one seen of the region before is refused
 * with 409: another cell leads by now. Repeats change nothing.
 */
export async function serveShardControl(options: ShardControlOptions): Promise<ShardControl> {
  const token = randomBytes(24).toString("hex");
  const tokens = new Map<string, number>();
  const { engines, regionOf } = options;

  async function answer(request: IncomingMessage): Promise<{ status: number; body: object }> {
    if (request.headers.authorization !== `Bearer ${token}`) return { status: 401, body: {} };
    const { method, url } = request;
    if (url !== "/shards" && url !== "/shards/left") return { status: 404, body: {} };
    if (method === "GET" && url === "/shards")
      return { status: 200, body: { shards: engines.states() } };
    if (method !== "PUT") return { status: 405, body: {} };
    const body = await readBody(request);
    if (url === "/shards/left") {
      const left = leftSchema.safeParse(body);
      if (!left.success) return { status: 400, body: {} };
      return { status: engines.left(left.data.shard) ? 200 : 404, body: {} };
    }
    const parsed = orderSchema.safeParse(body);
    if (!parsed.success) return { status: 400, body: {} };
    const { running, shard, token: fence } = parsed.data;
    const region = regionOf(shard);
    if (fence < (tokens.get(region) ?? 0)) return { status: 409, body: {} };
    tokens.set(region, fence);
    return { status: engines.set(shard, running) ? 200 : 404, body: {} };
  }

  const server = createServer((request, response) => {
    void answer(request)
      .catch(() => ({ status: 500, body: {} }))
      .then(({ body, status }) => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(body));
      });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    token,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
