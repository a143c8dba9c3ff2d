/** The HTTP server of one simulated engine. */
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { EngineContext } from "./context.ts";
import { createDriver } from "./driver.ts";
import { handleControl, type Control } from "./http/control-routes.ts";
import { strikeEarly } from "./http/early-faults.ts";
import { withoutFields } from "./http/dialect.ts";
import { handleEmbeddings } from "./http/embeddings.ts";
import { EngineError } from "./http/errors.ts";
import { parseJson, readBody, sendError, sendJson, type Exchange } from "./http/exchange.ts";
import { createFaultBook } from "./http/faults.ts";
import { handleChat, handleCompletion } from "./http/generation-routes.ts";
import { createMetrics } from "./http/metrics.ts";
import { toldCounters } from "./http/told-counters.ts";
import { createRequestLog, recordedBodyBytesMax } from "./http/request-log.ts";
import { holdForStart } from "./http/hold-for-start.ts";
import { createBatchEngine } from "./model/batch-engine.ts";
import { profiles } from "./model/profiles.ts";
import { noiseFactor, seededRandom } from "./model/step-time.ts";
import { createPlatform } from "./platform.ts";
import { resolveOptions, type EngineOptionsInput } from "./options.ts";

export interface SimulatedEngine {
  /** Base URL for OpenAI clients, ends in `/v1`. */
  readonly url: string;
  readonly port: number;
  /** Ends all connections and the server. */
  close(): Promise<void>;
}

export interface StartOptions extends EngineOptionsInput {
  /** What a crash does; ends the process with exit code 1 when absent. */
  readonly onCrash?: () => void;
}

type GenerationRoute = (context: EngineContext, exchange: Exchange, body: unknown) => Promise<void>;

const generationRoutes: Readonly<Record<string, GenerationRoute>> = {
  "/v1/chat/completions": handleChat,
  "/v1/completions": handleCompletion,
  "/v1/embeddings": handleEmbeddings,
};

/** Path without query, decoded: clients escape the slash of a model's name. */
function pathOf(url: string): string {
  const path = url.split("?")[0] ?? "/";
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function isAuthorized(request: IncomingMessage, apiKey: string | undefined): boolean {
  if (apiKey === undefined) return true;
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(request.headers.authorization ?? ""), digest(`Bearer ${apiKey}`));
}

/** Starts an engine on 127.0.0.1 and waits until it listens. @throws OptionsError for options that make no sense. */
export async function startSimulatedEngine(input: StartOptions = {}): Promise<SimulatedEngine> {
  const options = resolveOptions(input);
  const random = seededRandom(options.seed);
  const engine = createBatchEngine({
    profile: profiles[options.profile],
    concurrentMax: options.concurrentMax,
    kvTokens: options.kvTokens,
    ...(options.isNoisy ? { noise: () => noiseFactor(random) } : {}),
  });
  const crash = input.onCrash ?? (() => process.exit(1));
  const faults = createFaultBook(random);
  const context: EngineContext = {
    options,
    engine,
    told: () => toldCounters(engine.counters(), faults.takeLie(), options.concurrentMax),
    driver: createDriver(engine, options.speed),
    metrics: createMetrics(options.model),
    crash,
    createdAtSeconds: Math.floor(Date.now() / 1_000),
  };
  const platform = createPlatform({
    ...options,
    nowMs: () => Date.now(),
    onDown: () => engine.clearCache(),
  });
  let activeRequests = 0;
  const control: Control = {
    faults,
    log: createRequestLog(() => Date.now()),
    crash,
    platform,
  };

  function answerGet(path: string, response: ServerResponse): void {
    const model = {
      id: options.model,
      object: "model",
      created: context.createdAtSeconds,
      owned_by: "simulated-engine",
      root: `${options.model}@${options.revision}`,
      parent: null,
      max_model_len: options.contextTokensMax,
      permission: [],
    };
    if (path === "/v1/models") return sendJson(response, 200, { object: "list", data: [model] });
    if (path === `/v1/models/${options.model}`) return sendJson(response, 200, model);
    if (path === "/version") return sendJson(response, 200, { version: "0.32.0-simulated" });
    if (path === "/load") return sendJson(response, 200, { server_load: activeRequests });
    if (path === "/health" || path === "/ping") {
      response.writeHead(200, { "content-length": 0 });
      response.end();
      return;
    }
    if (path === "/metrics" && !options.without.includes("metrics")) {
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
      response.end(context.metrics.render(context.told()));
      return;
    }
    throw new EngineError(404, "Not Found");
  }

  async function answer(exchange: Exchange, path: string): Promise<void> {
    const { request, response, record } = exchange;
    const arrival = platform.arrive();
    response.once("close", () => platform.leave());
    if (await strikeEarly(exchange)) return;
    if (await holdForStart(exchange, arrival, options.whileCold)) return;
    if (path.startsWith("/v1/") && !isAuthorized(request, options.apiKey))
      return sendJson(response, 401, { error: "Unauthorized" });
    const route = generationRoutes[path];
    if (route === undefined) {
      if (request.method !== "GET") throw new EngineError(404, "Not Found");
      return answerGet(path, response);
    }
    if (request.method !== "POST") throw new EngineError(405, "Method Not Allowed");
    const bytes = await readBody(request);
    record.body =
      bytes.length > recordedBodyBytesMax ? { bytes: bytes.length } : bytes.toString("utf8");
    const sent = parseJson(bytes);
    if (bytes.length <= recordedBodyBytesMax) record.body = sent;
    const body = withoutFields(sent, options.without, options.isStrict);
    activeRequests += 1;
    try {
      await route(context, exchange, body);
    } finally {
      activeRequests -= 1;
    }
  }

  async function answerControl(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
  ): Promise<void> {
    const bytes = await readBody(request);
    handleControl(control, request.method ?? "GET", path, () => parseJson(bytes), response);
  }

  function openExchange(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
  ): Exchange {
    const method = request.method ?? "GET";
    const record = control.log.begin({ method, path, headers: request.headers });
    const fault = control.faults.take(generationRoutes[path] !== undefined);
    record.fault = fault?.kind ?? null;
    const listeners: (() => void)[] = [];
    response.once("close", () => {
      record.endedAtMs = Date.now();
      record.status = response.headersSent ? response.statusCode : null;
      if (response.writableFinished) return;
      record.aborted = true;
      record.abortedAtMs = record.endedAtMs;
      for (const listener of listeners) listener();
    });
    return {
      request,
      response,
      record,
      fault,
      isOpen: () => !response.destroyed && !response.writableEnded,
      onAbort(listener) {
        if (response.destroyed) listener();
        else listeners.push(listener);
      },
    };
  }

  function failed(response: ServerResponse, error: unknown): void {
    if (error instanceof EngineError) {
      const isTooLarge = error.status === 413;
      // The rest of the body is not read, so the connection cannot be used again.
      sendError(response, error, isTooLarge ? { connection: "close" } : {});
      return;
    }
    // A client that leaves while its body is read is no fault of the engine.
    if (response.destroyed) return;
    process.stderr.write(
      `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    sendError(response, new EngineError(500, "Internal Server Error"));
  }

  const server = createServer((request, response) => {
    const path = pathOf(request.url ?? "/");
    // A reader that is gone is seen by "close"; without a listener its error would end the process.
    response.on("error", () => {});
    const done = path.startsWith("/control/")
      ? answerControl(request, response, path)
      : answer(openExchange(request, response, path), path);
    done.catch((error: unknown) => failed(response, error));
  });
  // Engines are called by one cell over kept connections; Node's default of 5 s races with the client's reuse.
  server.keepAliveTimeout = 75_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  return {
    port,
    url: `http://127.0.0.1:${port}/v1`,
    close() {
      context.driver.close();
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}
