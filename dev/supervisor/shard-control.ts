import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import * as z from "zod";

/** Where the scaler of a cell has engines started and ended. */
export interface ShardControl {
  readonly url: string;
  /** What a caller must show. */
  readonly token: string;
  close(): void;
}

export interface ShardControlOptions {
  /** Shards whose engines run, or are being started. */
  readonly running: () => readonly string[];
  readonly regionOf: (shard: string) => string;
  /** False for a shard that has no engine here. */
  readonly set: (shard: string, isRunning: boolean) => Promise<boolean>;
}

const bodyBytesMax = 4_096;
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
 * Serves `GET /shards` and `PUT /shards` on loopback. An order under a lower fencing token than one seen of the region before is
 * refused with 409: another cell leads by now. Repeats change nothing.
 */
export async function serveShardControl(options: ShardControlOptions): Promise<ShardControl> {
  const token = randomBytes(24).toString("hex");
  const tokens = new Map<string, number>();

  async function answer(request: IncomingMessage): Promise<{ status: number; body: object }> {
    if (request.headers.authorization !== `Bearer ${token}`) return { status: 401, body: {} };
    if (request.url !== "/shards") return { status: 404, body: {} };
    if (request.method === "GET") return { status: 200, body: { running: options.running() } };
    if (request.method !== "PUT") return { status: 405, body: {} };
    const parsed = orderSchema.safeParse(await readBody(request));
    if (!parsed.success) return { status: 400, body: {} };
    const { running, shard, token: fence } = parsed.data;
    const region = options.regionOf(shard);
    if (fence < (tokens.get(region) ?? 0)) return { status: 409, body: {} };
    tokens.set(region, fence);
    return { status: (await options.set(shard, running)) ? 200 : 404, body: {} };
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
