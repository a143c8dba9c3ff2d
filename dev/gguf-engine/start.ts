/** The HTTP server of one GGUF engine: the paths and shapes of the simulated engine, with a real model behind. */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createChatRenderer } from "../simulated-engine/http/chat-renderer.ts";
import { createCompletionRenderer } from "../simulated-engine/http/completion-renderer.ts";
import { EngineError } from "../simulated-engine/http/errors.ts";
import { parseJson, readBody, sendError, sendJson } from "../simulated-engine/http/exchange.ts";
import type { Usage } from "../simulated-engine/http/generation.ts";
import { createMetrics } from "../simulated-engine/http/metrics.ts";
import type { Renderer } from "../simulated-engine/http/renderer.ts";
import { readChat, readCompletion } from "./generation-request.ts";
import type { GgufRequest } from "./generation-request.ts";
import type { GgufOptions } from "./options.ts";
import { loadRunner } from "./runner.ts";
import type { RunnerStep } from "./runner.ts";

/** What `/version` says: that of the library. */
const libraryVersion = "3.22.1";

export interface GgufEngine {
  /** Base URL for OpenAI clients, ends in `/v1`. */
  readonly url: string;
  close(): Promise<void>;
}

/** Loads the model and listens on 127.0.0.1. @throws Error when the library or the file cannot be loaded. */
export async function startGgufEngine(options: GgufOptions): Promise<GgufEngine> {
  const runner = await loadRunner(options);
  const metrics = createMetrics(options.model);
  const createdAtSeconds = Math.floor(Date.now() / 1_000);
  const entry = {
    id: options.model,
    object: "model",
    created: createdAtSeconds,
    owned_by: "node-llama-cpp",
    root: options.model,
    parent: null,
    max_model_len: runner.contextTokensMax,
    permission: [],
  };

  function answerGet(path: string, response: ServerResponse): void {
    if (path === "/v1/models") return sendJson(response, 200, { object: "list", data: [entry] });
    if (path === "/version") return sendJson(response, 200, { version: libraryVersion });
    if (path === "/health" || path === "/ping") {
      response.writeHead(200, { "content-length": 0 });
      response.end();
      return;
    }
    if (path === "/metrics") {
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
      response.end(metrics.render(runner.counters()));
      return;
    }
    throw new EngineError(404, "Not Found");
  }

  function rendererOf({ api, hasTokenIds, requestId, run }: GgufRequest): Renderer {
    const id = requestId ?? randomUUID();
    const common = {
      created: Math.floor(Date.now() / 1_000),
      model: options.model,
      hasTokenIds,
      hasLogprobs: false,
    };
    if (api === "chat")
      return createChatRenderer({
        ...common,
        id: `chatcmpl-${id}`,
        choices: 1,
        promptIds: run.prompt,
        isNamedCall: false,
      });
    return createCompletionRenderer({
      ...common,
      id: `cmpl-${id}`,
      prompts: [{ ids: run.prompt, text: "" }],
      isEcho: false,
    });
  }

  async function generate(request: GgufRequest, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const renderer = rendererOf(request);
    const { isStreamed, run } = request;
    const beganAtMs = performance.now();
    let firstAtMs: number | null = null;
    let cachedTokens = 0;
    let tokens = 0;
    let finish: RunnerStep["finish"] = null;
    const steps = runner.generate(run, gone.signal, (start) => ({ cachedTokens } = start));
    for await (const step of steps) {
      firstAtMs ??= performance.now();
      tokens += step.tokenIds.length;
      ({ finish } = step);
      const isFirst = !response.headersSent;
      if (isStreamed && isFirst) {
        response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
        await writeAll(response, renderer.begin());
      }
      const chunks = renderer.piece(pieceOf(step));
      if (isStreamed) await writeAll(response, chunks);
    }
    metrics.countPrompt(run.prompt.length);
    metrics.countGenerated(tokens);
    metrics.countFinished(finish ?? "abort");
    const endedAtMs = performance.now();
    if (firstAtMs !== null)
      metrics.observe("time_to_first_token_seconds", (firstAtMs - beganAtMs) / 1_000);
    metrics.observe("e2e_request_latency_seconds", (endedAtMs - beganAtMs) / 1_000);
    if (finish === null || response.destroyed) return;
    const usage: Usage = {
      prompt_tokens: run.prompt.length,
      completion_tokens: tokens,
      total_tokens: run.prompt.length + tokens,
      prompt_tokens_details: { cached_tokens: cachedTokens },
    };
    if (!isStreamed) return sendJson(response, 200, renderer.body(usage));
    if (request.hasUsage) await writeAll(response, [renderer.usageChunk(usage)]);
    response.end("data: [DONE]\n\n");
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    const read = { "/v1/chat/completions": readChat, "/v1/completions": readCompletion }[path];
    if (read === undefined) {
      if (request.method !== "GET") throw new EngineError(404, "Not Found");
      return answerGet(path, response);
    }
    if (request.method !== "POST") throw new EngineError(405, "Method Not Allowed");
    await generate(read(runner, options.model, parseJson(await readBody(request))), response);
  }

  const server = createServer((request, response) => {
    // A reader that is gone is seen by "close"; without a listener its error would end the process.
    response.on("error", () => {});
    answer(request, response).catch((error: unknown) => fail(response, error));
  });
  // As the simulated engine: Node's default of 5 s races with the cell's reuse of connections.
  server.keepAliveTimeout = 75_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function pieceOf({ finish, stop, text, tokenIds }: RunnerStep) {
  return {
    choice: 0,
    text,
    tokenIds,
    logprobs: [],
    call: undefined,
    finish: finish === null ? undefined : { reason: finish, stopReason: stop },
  };
}

/** Writes events and waits for the socket when it is full. */
async function writeAll(response: ServerResponse, chunks: readonly object[]): Promise<void> {
  for (const chunk of chunks) {
    if (response.destroyed) return;
    if (response.write(`data: ${JSON.stringify(chunk)}\n\n`)) continue;
    await new Promise<void>((resolve) => {
      response.once("drain", resolve);
      response.once("close", resolve);
    });
  }
}

function fail(response: ServerResponse, error: unknown): void {
  if (response.destroyed) return;
  if (error instanceof EngineError) return sendError(response, error);
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : "error"}\n`);
  if (response.headersSent) response.destroy();
  else sendError(response, new EngineError(500, "Internal Server Error"));
}
