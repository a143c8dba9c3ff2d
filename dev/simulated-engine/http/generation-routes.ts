/** POST /v1/chat/completions and /v1/completions. */
import { randomUUID } from "node:crypto";
import type { EngineContext } from "../context.ts";
import type { AnswerForm } from "../text/answer.ts";
import { chatForm, chatPromptIds, formOf } from "../text/chat-template.ts";
import { decode, encode, specialTokens } from "../text/tokenizer.ts";
import { createChatRenderer } from "./chat-renderer.ts";
import { createCompletionRenderer } from "./completion-renderer.ts";
import { deliver } from "./deliver.ts";
import { EngineError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { startGeneration } from "./generation.ts";
import { createModelCheck, parseRequest, loadHeaders } from "./route-parts.ts";
import type { Renderer } from "./renderer.ts";
import { chatRequest, completionRequest, type GenerationRequest } from "./requests.ts";

interface Plan {
  readonly prompts: readonly (readonly number[])[];
  readonly form: AnswerForm;
  readonly tokensMax: number | null | undefined;
  readonly topLogprobs: number | undefined;
  readonly renderer: Renderer;
}

function checkLengths(context: EngineContext, request: GenerationRequest, plan: Plan): void {
  const limit = context.options.contextTokensMax;
  for (const prompt of plan.prompts) {
    if (prompt.length >= limit)
      throw new EngineError(
        400,
        `This model's maximum context length is ${limit} tokens. However, your request has ${prompt.length} input tokens. Please reduce the length of the input messages.`,
      );
    const wanted = plan.tokensMax ?? 1;
    if (wanted < 1) throw new EngineError(400, `max_tokens must be at least 1, got ${wanted}.`);
    if (prompt.length + wanted > limit)
      throw new EngineError(
        400,
        `'max_tokens' or 'max_completion_tokens' is too large: ${wanted}. This model's maximum context length is ${limit} tokens and your request has ${prompt.length} input tokens (${wanted} > ${limit} - ${prompt.length}).`,
      );
  }
  if ((request.min_tokens ?? 0) > (plan.tokensMax ?? Infinity))
    throw new EngineError(400, "min_tokens must be less than or equal to max_tokens.");
  if (request.stream_options && request.stream !== true)
    throw new EngineError(400, "Stream options can only be defined when `stream=True`.");
}

async function generate(
  context: EngineContext,
  exchange: Exchange,
  request: GenerationRequest,
  plan: Plan,
): Promise<void> {
  checkLengths(context, request, plan);
  const { options, driver, metrics } = context;
  const stop = request.stop ?? [];
  const generation = startGeneration(driver, metrics, {
    model: options.model,
    revision: options.revision,
    prompts: plan.prompts,
    n: request.n ?? 1,
    form: plan.form,
    tokensMaxFor: (promptTokens) => plan.tokensMax ?? options.contextTokensMax - promptTokens,
    tokensMin: request.min_tokens ?? 0,
    ignoreEos: request.ignore_eos ?? false,
    seed: request.seed ?? undefined,
    deviation: exchange.fault?.kind === "wrong" ? 1 : 0,
    stops: typeof stop === "string" ? [stop] : stop,
    stopTokenIds: request.stop_token_ids ?? [],
    isStopIncluded: request.include_stop_str_in_output ?? false,
    topLogprobs: plan.topLogprobs,
    cacheSalt: request.cache_salt ?? undefined,
    priority: request.priority ?? 0,
  });
  if (generation === "too-large") {
    metrics.countRejected();
    throw new EngineError(400, "The request does not fit into the KV cache.");
  }
  const streamOptions = request.stream_options;
  await deliver({
    exchange,
    generation,
    driver,
    renderer: plan.renderer,
    speed: options.speed,
    isStreamed: request.stream ?? false,
    hasUsage: streamOptions?.include_usage ?? false,
    hasContinuousUsage:
      (streamOptions?.include_usage && streamOptions.continuous_usage_stats) ?? false,
    headers: loadHeaders(context, exchange.request),
    crash: context.crash,
  });
}

function idFor(prefix: string, exchange: Exchange, requestId: string | null | undefined): string {
  const header = exchange.request.headers["x-request-id"];
  return `${prefix}-${requestId ?? (typeof header === "string" ? header : randomUUID())}`;
}

/** Chat completions. @throws EngineError for requests that vLLM refuses. */
export async function handleChat(
  context: EngineContext,
  exchange: Exchange,
  body: unknown,
): Promise<void> {
  const request = parseRequest(chatRequest, body);
  createModelCheck(context)(request.model);
  if (request.continue_final_message === true) {
    if (request.add_generation_prompt !== false)
      throw new EngineError(
        400,
        "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
      );
    if (request.messages.at(-1)?.role !== "assistant")
      throw new EngineError(400, "`continue_final_message` needs a last message of the assistant.");
  }
  if (request.logprobs !== true && (request.top_logprobs ?? 0) > 0)
    throw new EngineError(400, "when using `top_logprobs`, `logprobs` must be set to true.");
  const choice = request.tool_choice ?? undefined;
  if (
    choice !== undefined &&
    choice !== "none" &&
    choice !== "auto" &&
    (request.tools ?? []).length === 0
  )
    throw new EngineError(400, "When using `tool_choice`, `tools` must be set.");
  const form = chatForm(request);
  if (form.kind === "calls" && form.tools.length === 0)
    throw new EngineError(
      400,
      "The tool specified in `tool_choice` does not match any of the specified `tools`.",
    );
  const promptIds = chatPromptIds(request);
  await generate(context, exchange, request, {
    prompts: [promptIds],
    form,
    tokensMax: request.max_completion_tokens ?? request.max_tokens,
    topLogprobs: request.logprobs === true ? (request.top_logprobs ?? 0) : undefined,
    renderer: createChatRenderer({
      id: idFor("chatcmpl", exchange, request.request_id),
      created: Math.floor(Date.now() / 1_000),
      model: context.options.model,
      choices: request.n ?? 1,
      promptIds,
      hasTokenIds: request.return_token_ids ?? false,
      hasLogprobs: request.logprobs ?? false,
      isNamedCall: typeof choice === "object",
    }),
  });
}

/** Reads the four shapes of `prompt` and `input`. */
export function promptsOf(
  input: string | readonly string[] | readonly number[] | readonly (readonly number[])[],
): (readonly number[])[] {
  if (typeof input === "string") return [[specialTokens.begin, ...encode(input, "prompt")]];
  const prompts: (readonly number[])[] = [];
  const flat: number[] = [];
  for (const one of input) {
    if (typeof one === "number") flat.push(one);
    else
      prompts.push(typeof one === "string" ? [specialTokens.begin, ...encode(one, "prompt")] : one);
  }
  return flat.length > 0 ? [flat] : prompts;
}

/** Text completions. `suffix` is ignored. @throws EngineError for requests that vLLM refuses. */
export async function handleCompletion(
  context: EngineContext,
  exchange: Exchange,
  body: unknown,
): Promise<void> {
  const request = parseRequest(completionRequest, body);
  createModelCheck(context)(request.model);
  const prompts = promptsOf(request.prompt);
  const n = request.n ?? 1;
  await generate(context, exchange, request, {
    prompts,
    form: formOf(request.response_format),
    // OpenAI's and vLLM's default for text completions.
    tokensMax: request.max_tokens === undefined ? 16 : request.max_tokens,
    topLogprobs: request.logprobs ?? undefined,
    renderer: createCompletionRenderer({
      id: idFor("cmpl", exchange, request.request_id),
      created: Math.floor(Date.now() / 1_000),
      model: context.options.model,
      prompts: prompts.flatMap((ids) => {
        const prompt = { ids, text: request.echo === true ? decode(ids) : "" };
        return Array.from({ length: n }, () => prompt);
      }),
      isEcho: request.echo ?? false,
      hasTokenIds: request.return_token_ids ?? false,
      hasLogprobs: typeof request.logprobs === "number",
    }),
  });
}
