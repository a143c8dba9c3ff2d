import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as wait } from "node:timers/promises";

import { handleCommands } from "./command-requests.ts";
import type { CommandAnswer } from "./command-requests.ts";
import { handleControl } from "./control.ts";
import { Database } from "./database.ts";
import { FaultBoard } from "./faults.ts";
import { answerWithFault } from "./faulty-answers.ts";
import { bodyBytesMax, readBody } from "./http-body.ts";
import { MemoryEngine } from "./memory-engine.ts";
import { RedisEngine } from "./redis-engine.ts";
import { bytesOfText, textOfBytes } from "./reply.ts";
import { targetOf } from "./request-target.ts";
import { Snapshot } from "./snapshot.ts";

/** What a local server is made of; `npm run dev` and tests start it with these. */
export interface UpstashOptions {
  /** 0 asks for a free port. */
  readonly port: number;
  readonly regions: readonly string[];
  readonly token: string;
  readonly readOnlyToken: string;
  /** How long after a write each replica shows it, in ms. Default 0. */
  readonly replicationLagMs?: number;
  /** The snapshot file; without one the data ends with the process. Not together with `redis`. */
  readonly dataFile?: string;
  /** A redis-server that holds the primary's data. The replicas stay in memory, so no other database of it is touched. */
  readonly redis?: URL;
  /** Milliseconds since the epoch. Default: the system clock. */
  readonly nowMs?: () => number;
  /** Uniform on [0, 1), decides which writes are lost. Default: Math.random. */
  readonly random?: () => number;
}

/** A running server. */
export interface UpstashServer {
  readonly url: string;
  /** The base URL that reads from a region's replica. @throws Error for a region that it was not started with. */
  regionUrl(region: string): string;
  /** Writes the snapshot, ends all connections and frees the port. */
  close(): Promise<void>;
}

/** Methods of the REST API (Upstash documentation, "REST API"). */
const methods = new Set(["GET", "HEAD", "POST", "PUT"]);

/** Starts a server that speaks the Upstash REST protocol on 127.0.0.1. @throws Error when the port, the snapshot or the redis-server cannot be used. */
export async function startUpstash(options: UpstashOptions): Promise<UpstashServer> {
  const { regions, token, readOnlyToken, dataFile, redis } = options;
  const nowMs = options.nowMs ?? Date.now;
  const faults = new FaultBoard();
  const primary = redis === undefined ? new MemoryEngine(nowMs) : new RedisEngine(redis, nowMs);
  const snapshot = dataFile === undefined ? undefined : new Snapshot(dataFile, primary);
  await snapshot?.load();
  const database = await Database.open({
    primary,
    regions,
    replicationLagMs: options.replicationLagMs ?? 0,
    faults,
    nowMs,
    random: options.random ?? Math.random,
    run: randomBytes(6).toString("hex"),
    onChange: () => snapshot?.schedule(),
  });
  const closing = new AbortController();

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(`http://127.0.0.1${request.url ?? "/"}`);
    const target = targetOf(url.pathname, regions);
    const method = request.method ?? "";
    if (target.kind === "unknown") return sendJson(response, 404, { error: target.error });
    if (target.kind === "control") {
      const body = textOfBytes((await readBody(request)) ?? "");
      await database.catchUp();
      const answer = handleControl(faults, { method, query: url.searchParams, body, regions });
      return sendJson(response, answer.status, answer.body);
    }
    const { region, path } = target;
    const delayMs = faults.find("delay", region)?.delayMs ?? 0;
    const body = await readBody(request);
    const answer = await answerCommands({ request, url, region, path, body });
    // The command ran before the delay: a caller that gave up cannot know whether its write took place.
    if (delayMs > 0) await wait(delayMs, undefined, { signal: closing.signal });
    if (answerWithFault(faults, region, response)) return;
    if (answer.syncToken !== undefined) response.setHeader("upstash-sync-token", answer.syncToken);
    sendJson(response, answer.status, answer.body);
  }

  async function answerCommands(parts: {
    readonly request: IncomingMessage;
    readonly url: URL;
    readonly region: string | undefined;
    readonly path: string;
    readonly body: string | undefined;
  }): Promise<CommandAnswer> {
    const { request, url, region, path, body } = parts;
    const given =
      /^bearer (.+)$/i.exec(request.headers.authorization ?? "")?.[1] ??
      url.searchParams.get("_token");
    if (!methods.has(request.method ?? "")) return plainAnswer(405, "ERR method not allowed");
    if (given !== token && given !== readOnlyToken) return plainAnswer(401, "Unauthorized");
    if (body === undefined) {
      return plainAnswer(400, `ERR max request size exceeded. Limit: ${bodyBytesMax} bytes`);
    }
    const syncToken = request.headers["upstash-sync-token"];
    return handleCommands(database, {
      path,
      query: url.searchParams,
      body,
      region,
      isReadOnly: given === readOnlyToken,
      isBase64: request.headers["upstash-encoding"] === "base64",
      syncToken: typeof syncToken === "string" ? syncToken : undefined,
    });
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (closing.signal.aborted || response.headersSent) response.socket?.destroy();
      else sendJson(response, 500, { error: `ERR ${describe(error)}` });
    });
  });
  server.listen(options.port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    await primary.close();
    throw error;
  }
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  const url = `http://127.0.0.1:${port}`;

  return {
    url,
    regionUrl(region) {
      if (!regions.includes(region)) {
        throw new Error(`region: got "${region}", wanted ${regions.join(", ")}`);
      }
      return `${url}/regions/${region}`;
    },
    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      server.close();
      server.closeAllConnections();
      await database.settle();
      await snapshot?.close();
      await primary.close();
    },
  };
}

function plainAnswer(status: number, error: string): CommandAnswer {
  return { status, body: { error }, syncToken: undefined };
}

function describe(error: unknown): string {
  return bytesOfText(error instanceof Error ? error.message : "unknown failure");
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
