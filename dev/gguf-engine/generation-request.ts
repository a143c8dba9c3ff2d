/** Requests as this engine takes them: what it cannot do is refused by name, never ignored. */
import * as z from "zod";
import { EngineError } from "../simulated-engine/http/errors.ts";
import { chatRequest, completionRequest } from "../simulated-engine/http/requests.ts";
import type { GenerationRequest } from "../simulated-engine/http/requests.ts";
import { parseRequest } from "../simulated-engine/http/route-parts.ts";
import type { Token } from "./llama-library.ts";
import { chatTokens, completionTokens } from "./prompt-tokens.ts";
import type { Runner, RunnerRequest } from "./runner.ts";

/** vLLM's sampling parameters beyond OpenAI's. */
const sampling = {
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
};
const chat = chatRequest.extend(sampling);
const completion = completionRequest.extend(sampling);

/** OpenAI's default for text completions. */
const completionTokensDefault = 16;
const seedMax = 2 ** 32;

/** A request that can be run, and how its answer is to be given. */
export interface GgufRequest {
  readonly api: "chat" | "completion";
  readonly run: RunnerRequest;
  readonly isStreamed: boolean;
  readonly hasUsage: boolean;
  readonly hasTokenIds: boolean;
  readonly requestId: string | null;
}

type Sampled = GenerationRequest & {
  readonly top_k?: number | null | undefined;
  readonly min_p?: number | null | undefined;
};

/** @throws EngineError 400 or 404 that says what is wrong. */
export function readChat(runner: Runner, model: string, body: unknown): GgufRequest {
  const request = parseRequest(chat, body);
  checkModel(model, request.model);
  refuse({
    tools: (request.tools ?? []).length > 0,
    logprobs: request.logprobs === true,
  });
  const prompt = chatTokens(runner.model, runner.wrapper, request);
  const tokensMax = request.max_completion_tokens ?? request.max_tokens ?? null;
  return { api: "chat", ...common(runner, request, prompt, tokensMax) };
}

/** As {@link readChat}, for text completions. */
export function readCompletion(runner: Runner, model: string, body: unknown): GgufRequest {
  const request = parseRequest(completion, body);
  checkModel(model, request.model);
  refuse({
    echo: request.echo === true,
    logprobs: (request.logprobs ?? null) !== null,
    suffix: (request["suffix"] ?? null) !== null,
    best_of: (request["best_of"] ?? 1) !== 1,
  });
  const prompt = completionTokens(runner.model, request.prompt);
  const tokensMax = request.max_tokens ?? completionTokensDefault;
  return { api: "completion", ...common(runner, request, prompt, tokensMax) };
}

function checkModel(served: string, wanted: string | null | undefined): void {
  if (typeof wanted === "string" && wanted !== served)
    throw new EngineError(404, `The model \`${wanted}\` does not exist.`);
}

/** @throws EngineError 400 for the first field that is in use. */
function refuse(used: Readonly<Record<string, boolean>>): void {
  const field = Object.keys(used).find((name) => used[name] === true);
  if (field !== undefined) throw new EngineError(400, `${field} is not supported.`);
}

function common(
  runner: Runner,
  request: Sampled & Readonly<Record<string, unknown>>,
  prompt: readonly Token[],
  tokensMax: number | null,
): Omit<GgufRequest, "api"> {
  refuse({
    n: (request.n ?? 1) !== 1,
    response_format: (request.response_format?.type ?? "text") !== "text",
    priority: (request.priority ?? 0) !== 0,
    min_tokens: (request.min_tokens ?? 0) > 0,
    ignore_eos: request.ignore_eos === true,
    stop_token_ids: (request.stop_token_ids ?? []).length > 0,
    include_stop_str_in_output: request.include_stop_str_in_output === true,
    logit_bias: (request["logit_bias"] ?? null) !== null,
  });
  if (request.stream_options && request.stream !== true)
    throw new EngineError(400, "Stream options can only be defined when `stream=True`.");
  const limit = runner.contextTokensMax;
  if (prompt.length === 0) throw new EngineError(400, "The prompt is empty.");
  if (prompt.length >= limit || prompt.length + (tokensMax ?? 1) > limit)
    throw new EngineError(
      400,
      `This model's maximum context length is ${limit} tokens. However, your request has ${prompt.length} input tokens and asks for ${tokensMax ?? 1} more.`,
    );
  if (tokensMax !== null && tokensMax < 1)
    throw new EngineError(400, `max_tokens must be at least 1, got ${tokensMax}.`);
  const { seed } = request;
  const stop = request.stop ?? [];
  return {
    run: {
      prompt,
      tokensMax: tokensMax ?? limit - prompt.length,
      stops: (typeof stop === "string" ? [stop] : stop).filter((text) => text !== ""),
      cacheSalt: request.cache_salt ?? "",
      sampling: {
        // OpenAI's defaults; top-k is off unless asked for.
        temperature: request.temperature ?? 1,
        topP: request.top_p ?? 1,
        topK: Math.max(0, request.top_k ?? 0),
        minP: request.min_p ?? 0,
        ...(typeof seed === "number" ? { seed: Math.abs(seed) % seedMax } : {}),
      },
      presencePenalty: request.presence_penalty ?? 0,
      frequencyPenalty: request.frequency_penalty ?? 0,
    },
    isStreamed: request.stream === true,
    hasUsage: request.stream_options?.include_usage === true,
    hasTokenIds: request.return_token_ids === true,
    requestId: request.request_id ?? null,
  };
}
