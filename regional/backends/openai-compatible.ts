import type { LookupFunction } from "node:net";
import type { ContinuationAbility } from "#shared/conversation/continuation.ts";
import { choicesOf } from "#shared/conversation/turn-choices.ts";
import { composeEngineBody } from "#shared/conversation/turn-engine-body.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import {
  loadHeader,
  metricsCharactersMax,
  parseEngineMetrics,
  parseLoadHeader,
} from "#shared/routing/engine-load.ts";
import type { EngineLoad } from "#shared/routing/engine-load.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine, EngineCall, EngineSink, ProbeResult } from "../ports/engine.ts";
import { createCapabilities } from "./capabilities.ts";
import type { EngineExtensions } from "./dialect.ts";
import { readEmbeddingsAnswer } from "./embeddings-answer.ts";
import { createEngineHttp, readWhole } from "./engine-http.ts";
import type { EngineHttp, EngineResponse } from "./engine-http.ts";
import { feedStream } from "./feed-stream.ts";
import type { StreamedCall } from "./feed-stream.ts";
import { classifyRefusal, refusalBytesMax } from "./refusal.ts";

/** Longest embeddings answer, bytes: 2,048 vectors of 4,096 numbers of 8 characters. */
const documentBytesMax = 64 * 1024 * 1024;
/** Time for a question about the server (models, version, health without own timeout), ms. */
const questionTimeoutMs = 2_000;
/** Longest answer to such a question, bytes. */
const questionBytesMax = 256 * 1024;
/** Time for a server to close its stream after `[DONE]`, ms. */
const closeTimeoutMs = 1_000;
const userAgent = "meridian-cell";

/** An OpenAI-compatible server as a shard. */
export interface OpenAiCompatibleOptions {
  readonly shard: ShardId;
  /** Base URL, `/v1` included. */
  readonly url: string;
  /** Headers by which the server knows us; none of a client's. */
  readonly credentials: Readonly<Record<string, string>>;
  /** Headers by which calls of one conversation find the same replica; none: the server has no such thing. */
  readonly stickiness?: (call: EngineCall) => Readonly<Record<string, string>>;
  /** Whether an answer's head says that the server is not running yet. */
  readonly isCold?: (status: number, location: string | undefined) => boolean;
  /** The name that the engine knows the model by. */
  readonly engineModel: string;
  /** Null when the server must be asked. */
  readonly extensions: EngineExtensions | null;
  /** The salt of a tenant's cached prefixes on this model, 64 hex digits. */
  readonly cacheSalt: (tenant: string, jurisdiction: string, model: string) => string;
  readonly clock: Clock;
  /** Resolves the shard's hostname. */
  readonly lookup: LookupFunction;
  /** Told what an answer's head says of the engine's load. Null where one server does not speak for the whole shard. */
  readonly onLoad: ((load: EngineLoad) => void) | null;
}

/** Drives one OpenAI-compatible server; used for the kinds `openai-compatible`, `simulated` and `modal`. */
export function createOpenAiCompatible(options: OpenAiCompatibleOptions): Engine {
  const base = new URL(options.url.endsWith("/") ? options.url : `${options.url}/`);
  const http = createEngineHttp(base.protocol === "https:", options.lookup);
  const { credentials, isCold = () => false, onLoad, stickiness = () => ({}) } = options;
  const wantsLoad = onLoad === null ? {} : { [loadHeader.request]: loadHeader.format };
  const capabilities = createCapabilities(
    options.extensions,
    (path) =>
      readJson(http, path === "models" ? new URL("models", base) : new URL("/version", base), {
        "user-agent": userAgent,
        accept: "application/json",
        ...credentials,
      }),
    options.clock,
  );

  async function run(
    call: EngineCall,
    sink: EngineSink,
    signal: AbortSignal,
  ): Promise<ShardFailure | null> {
    const { cacheSalt, tokenIds } = await capabilities.current();
    const { engineModel } = options;
    const body = composeEngineBody(call.path, call.body, {
      engineModel,
      cacheSalt: cacheSalt ? options.cacheSalt(call.tenant, call.jurisdiction, engineModel) : null,
      knowsTokenIds: tokenIds,
    });
    const bytes = Buffer.from(JSON.stringify(body), "utf8");
    const response = await http.send(
      {
        method: "POST",
        url: new URL(call.path, base),
        headers: {
          "content-type": "application/json",
          "content-length": String(bytes.byteLength),
          accept: call.path !== "embeddings" ? "text/event-stream" : "application/json",
          "user-agent": userAgent,
          traceparent: call.traceparent,
          "x-request-id": call.requestId,
          ...wantsLoad,
          ...stickiness(call),
          ...credentials,
        },
        body: bytes,
      },
      signal,
    );
    if (response.kind === "unreachable") return { reason: "unreachable" };
    const { headers, statusCode = 0 } = response.message;
    const told = headers[loadHeader.response];
    const load = typeof told === "string" ? parseLoadHeader(told) : null;
    if (load !== null) onLoad?.(load);
    if (isCold(statusCode, headers.location)) {
      response.message.destroy();
      return { reason: "cold", status: statusCode };
    }
    const { path } = call;
    return path !== "embeddings"
      ? readStream({ path, body: call.body }, response, sink)
      : readDocument(call, response, sink, engineModel);
  }

  async function probe(timeoutMs: number): Promise<ProbeResult> {
    const headers = { "user-agent": userAgent, ...credentials };
    const signal = AbortSignal.timeout(timeoutMs);
    const health = await ask(http, new URL("/health", base), headers, signal);
    if (health === 200) void capabilities.refresh();
    if (health !== 404) return judgeProbe(health);
    return judgeProbe(await ask(http, new URL("models", base), headers, signal));
  }

  async function load(timeoutMs: number): Promise<EngineLoad | "none" | "failed"> {
    const signal = AbortSignal.timeout(timeoutMs);
    const headers = { "user-agent": userAgent, accept: "text/plain", ...credentials };
    const url = new URL("/metrics", base);
    const response = await http.send({ method: "GET", url, headers, body: null }, signal);
    if (response.kind === "unreachable") return "failed";
    const bytes = await readWhole(response.message, metricsCharactersMax);
    const status = response.message.statusCode ?? 0;
    if (bytes === null || status >= 500) return "failed";
    if (status !== 200) return "none";
    return parseEngineMetrics(Buffer.from(bytes).toString("latin1")) ?? "none";
  }

  function continuationAbility(): ContinuationAbility {
    const { tokenIds, continuation } = capabilities.known();
    if (!continuation) return "none";
    return tokenIds ? "tokens" : "text";
  }

  const engine = {
    shard: options.shard,
    run,
    continuationAbility,
    probe,
    close: () => http.close(),
  };
  return onLoad === null ? engine : { ...engine, load };
}

type Answered = EngineResponse & { kind: "response" };

/** Null when the answer can be read; else what its head says. The body of a refusal is read to its cap and dropped. */
async function refuseHead(
  { message }: Answered,
  contentType: "text/event-stream" | "application/json",
): Promise<ShardFailure | null> {
  const status = message.statusCode ?? 0;
  if (status !== 200) {
    const text = await readWhole(message, refusalBytesMax);
    return classifyRefusal(
      status,
      message.headers["retry-after"],
      text === null ? "" : Buffer.from(text).toString("utf8"),
    );
  }
  const actual = (message.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
  const isEncoded = (message.headers["content-encoding"] ?? "identity") !== "identity";
  if (actual === contentType && !isEncoded) return null;
  message.destroy();
  return { reason: "invalid", detail: "contentType" };
}

async function readStream(
  call: StreamedCall,
  response: Answered,
  sink: EngineSink,
): Promise<ShardFailure | null> {
  const refused = await refuseHead(response, "text/event-stream");
  if (refused !== null) return refused;
  const { message } = response;
  let timer: NodeJS.Timeout | undefined;
  // The answer is whole; a server that does not close its stream keeps no socket of ours.
  const leave = (): void => {
    timer = setTimeout(() => message.destroy(), closeTimeoutMs);
    timer.unref();
  };
  const failure = await feedStream(message as AsyncIterable<Uint8Array>, call, sink, leave);
  clearTimeout(timer);
  if (!message.complete) message.destroy();
  return failure;
}

async function readDocument(
  call: EngineCall,
  response: Answered,
  sink: EngineSink,
  engineModel: string,
): Promise<ShardFailure | null> {
  const refused = await refuseHead(response, "application/json");
  if (refused !== null) return refused;
  const bytes = await readWhole(response.message, documentBytesMax);
  if (bytes === null) return { reason: "cut" };
  const answer = readEmbeddingsAnswer(bytes, engineModel, choicesOf(call.path, call.body));
  if (answer === null) return { reason: "invalid", detail: "shape" };
  sink.document(answer.body, answer.usage);
  return null;
}

async function ask(
  http: EngineHttp,
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<number | null> {
  const response = await http.send({ method: "GET", url, headers, body: null }, signal);
  if (response.kind === "unreachable") return null;
  await readWhole(response.message, questionBytesMax);
  return response.message.statusCode ?? null;
}

function judgeProbe(status: number | null): ProbeResult {
  if (status === 200) return { ok: true };
  return { ok: false, reason: status === null ? "unreachable" : `status${status}` };
}

async function readJson(
  http: EngineHttp,
  url: URL,
  headers: Readonly<Record<string, string>>,
): Promise<unknown> {
  const signal = AbortSignal.timeout(questionTimeoutMs);
  const response = await http.send({ method: "GET", url, headers, body: null }, signal);
  if (response.kind === "unreachable") return null;
  const bytes = await readWhole(response.message, questionBytesMax);
  if (bytes === null || response.message.statusCode !== 200) return null;
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown;
  } catch {
    return null;
  }
}
