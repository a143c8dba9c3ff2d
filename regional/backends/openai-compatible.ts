import type { LookupFunction } from "node:net";
import { continuationAbilityOf } from "#shared/conversation/continuation.ts";
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
import type { StatedAbilities } from "#shared/config/engine-abilities.ts";
import type { ProbeAnswer } from "#shared/engines/probe-answer.ts";
import type { Question } from "#shared/engines/probe-question.ts";
import type { EngineLoad } from "#shared/routing/engine-load.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine, EngineCall, EngineSink, ProbeResult } from "../ports/engine.ts";
import { createCapabilities } from "./capabilities.ts";
import type { ProbeReport } from "./capabilities.ts";
import { readEmbeddingsAnswer } from "./embeddings-answer.ts";
import { createEngineHttp, readWhole } from "./engine-http.ts";
import type { EngineHttp, EngineResponse } from "./engine-http.ts";
import { feedMessage } from "./feed-stream.ts";
import type { StreamedCall } from "./feed-stream.ts";
import { classifyRefusal, namesOwnField, parseRetryAfter, refusalBytesMax } from "./refusal.ts";

/** Longest embeddings answer, bytes: 2,048 vectors of 4,096 numbers of 8 characters. */
const documentBytesMax = 64 * 1024 * 1024;
/** Time for a question about the server (its models, version, metrics), ms, and for one that has it generate. */
const questionTimeoutMs = 2_000;
const generationTimeoutMs = 8_000;
/** Longest answer to a question, bytes; metrics have the limit of their reader. */
const questionBytesMax = 256 * 1024;
/** Time for a server to close its stream after `[DONE]`, ms. */
const closeTimeoutMs = 1_000;
const userAgent = "meridian-cell";
const wantsLoad = { [loadHeader.request]: loadHeader.format };

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
  /** What the server is said to be able to do; it is asked for the rest. */
  readonly stated: StatedAbilities;
  readonly onProbed: (report: ProbeReport) => void;
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
  const urls = {
    "chat/completions": new URL("chat/completions", base),
    completions: new URL("completions", base),
    embeddings: new URL("embeddings", base),
  };
  const http = createEngineHttp(base.protocol === "https:", options.lookup);
  const { credentials, isCold = () => false, onLoad, stickiness = () => ({}) } = options;
  const capabilities = createCapabilities({
    stated: options.stated,
    engineModel: options.engineModel,
    ask: (question) =>
      askQuestion(http, question, {
        url: new URL(
          ["version", "metrics"].includes(question.path) ? `/${question.path}` : question.path,
          base,
        ),
        headers: { "user-agent": userAgent, ...credentials },
      }),
    clock: options.clock,
    onReport: options.onProbed,
  });

  async function run(
    call: EngineCall,
    sink: EngineSink,
    signal: AbortSignal,
  ): Promise<ShardFailure | null> {
    const abilities = await capabilities.current();
    const { engineModel } = options;
    const body = composeEngineBody(call.path, call.body, {
      engineModel,
      cacheSalt: abilities.cacheSalt
        ? options.cacheSalt(call.tenant, call.jurisdiction, engineModel)
        : null,
      priority: abilities.priority ? call.priority : null,
      hasTokenIds: abilities.tokenIds,
      hasUsageInStream: abilities.usageInStream,
    });
    const text = JSON.stringify(body);
    const response = await http.send(
      {
        method: "POST",
        url: urls[call.path],
        headers: {
          "content-type": "application/json",
          "content-length": String(Buffer.byteLength(text, "utf8")),
          accept: call.path !== "embeddings" ? "text/event-stream" : "application/json",
          "user-agent": userAgent,
          traceparent: call.traceparent,
          "x-request-id": call.requestId,
          ...(abilities.loadHeader && onLoad !== null ? wantsLoad : {}),
          ...stickiness(call),
          ...credentials,
        },
        body: text,
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
      const retryAfterMs = parseRetryAfter(headers["retry-after"]);
      const wait = retryAfterMs === null ? {} : { retryAfterMs };
      return { reason: "cold", status: statusCode, ...wait };
    }
    const { path } = call;
    const refused = await refuseHead(
      response,
      path !== "embeddings" ? "text/event-stream" : "application/json",
      () => capabilities.doubt(),
    );
    if (refused !== null) return refused;
    return path !== "embeddings"
      ? readStream({ path, body: call.body }, response, sink)
      : readDocument(call, response, sink, engineModel);
  }

  async function probe(timeoutMs: number): Promise<ProbeResult> {
    const headers = { "user-agent": userAgent, ...credentials };
    const signal = AbortSignal.timeout(timeoutMs);
    const health = await ask(http, new URL("/health", base), headers, signal);
    const status =
      health === 404 ? await ask(http, new URL("models", base), headers, signal) : health;
    void capabilities.seen(status === 200);
    return judgeProbe(status);
  }

  async function load(timeoutMs: number): Promise<EngineLoad | "none" | "failed"> {
    const { abilities, source } = capabilities.known();
    if (abilities.metrics === null && source !== "unknown") return "none";
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
    return continuationAbilityOf(capabilities.known().abilities);
  }

  const engine = {
    shard: options.shard,
    run,
    continuationAbility,
    abilities: () => capabilities.known(),
    missedUsage: () => capabilities.missedUsage(),
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
  onUnexpected: () => void,
): Promise<ShardFailure | null> {
  const status = message.statusCode ?? 0;
  if (status !== 200) {
    const bytes = await readWhole(message, refusalBytesMax);
    const text = bytes === null ? "" : Buffer.from(bytes).toString("utf8");
    const failure = classifyRefusal(status, message.headers["retry-after"], text);
    const isOwn = failure.reason === "clientFault" && namesOwnField(text);
    if (isOwn || failure.reason === "unexpectedStatus") onUnexpected();
    return failure;
  }
  const actual = (message.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
  const isEncoded = (message.headers["content-encoding"] ?? "identity") !== "identity";
  if (actual === contentType && !isEncoded) return null;
  message.destroy();
  return { reason: "invalid", detail: "contentType" };
}

async function readStream(
  call: StreamedCall,
  { message }: Answered,
  sink: EngineSink,
): Promise<ShardFailure | null> {
  let timer: NodeJS.Timeout | undefined;
  // The answer is whole; a server that does not close its stream keeps no socket of ours.
  const leave = (): void => {
    timer = setTimeout(() => message.destroy(), closeTimeoutMs);
    timer.unref();
  };
  const failure = await feedMessage(message, call, sink, leave);
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

/** One question and what came of it; no answer within its time, and one that is too long, are none. */
async function askQuestion(
  http: EngineHttp,
  { body, path, wantsLoad: isLoadWanted }: Question,
  { headers, url }: { readonly url: URL; readonly headers: Readonly<Record<string, string>> },
): Promise<ProbeAnswer | null> {
  const bytes = body === null ? null : Buffer.from(JSON.stringify(body), "utf8");
  const response = await http.send(
    {
      method: body === null ? "GET" : "POST",
      url,
      headers: {
        accept: path === "metrics" ? "text/plain" : "application/json, text/event-stream",
        ...headers,
        ...(isLoadWanted ? wantsLoad : {}),
        ...(bytes === null
          ? {}
          : { "content-type": "application/json", "content-length": String(bytes.byteLength) }),
      },
      body: bytes,
    },
    AbortSignal.timeout(body === null ? questionTimeoutMs : generationTimeoutMs),
  );
  if (response.kind === "unreachable") return null;
  const { message } = response;
  const answered = await readWhole(
    message,
    path === "metrics" ? metricsCharactersMax : questionBytesMax,
  );
  if (answered === null) return null;
  const told = message.headers[loadHeader.response];
  return {
    status: message.statusCode ?? 0,
    loadHeader: typeof told === "string" ? told : null,
    text: Buffer.from(answered).toString("utf8"),
  };
}
