import type { EngineAbilities } from "../config/engine-abilities.ts";
import type { EngineRequest, TurnRequest } from "../protocol/internal/turn-request.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import { textOf, tokensOf } from "./answer-so-far.ts";
import type { ChoiceState } from "./answer-so-far.ts";
import { choicesOf } from "./turn-choices.ts";

/** How a shard's engine can go on with an answer that another one began. */
export type ContinuationAbility =
  /** From the token ids of prompt and answer, and from the text. */
  | "tokens"
  /** From the text: `continue_final_message` (vLLM, protocol ChatCompletionRequest). */
  | "text"
  /** Not known to. An engine that ignores the field would begin a second answer. */
  | "none";

/** How an engine with these abilities goes on with an answer. */
export function continuationAbilityOf(abilities: EngineAbilities): ContinuationAbility {
  if (!abilities.continueFinalMessage) return "none";
  return abilities.tokenIds ? "tokens" : "text";
}

/** What is asked of the next shard once an answer has begun. */
export type ContinuationPlan =
  | {
      readonly kind: "continue";
      readonly path: EngineRequest["path"];
      readonly body: JsonObject;
      /** Tokens of the answer that the shard gets as prompt. */
      readonly tokensBefore: number;
    }
  /** The same request again; only what agrees with what was delivered counts. */
  | { readonly kind: "regenerate" }
  /** The answer is as long as the client allowed: only its end was lost. */
  | { readonly kind: "cutAtLength" };

/**
 * Fields of a chat request that mean the same for `/v1/completions`; a request with any other field is continued from its
 * text. (vLLM: SamplingParams of both protocols.)
 */
const sharedFields: ReadonlySet<string> = new Set([
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "seed",
  "presence_penalty",
  "frequency_penalty",
  "repetition_penalty",
  "logit_bias",
  "ignore_eos",
  "skip_special_tokens",
]);

/** Fields that bind the answer to a grammar: its state cannot be taken up in the middle. */
const grammarFields = [
  "guided_json",
  "guided_regex",
  "guided_choice",
  "guided_grammar",
  "structured_outputs",
] as const;

function isPresent(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null;
}

function isStructured(body: JsonObject): boolean {
  const format = body["response_format"];
  const type =
    typeof format === "object" && format !== null && !Array.isArray(format) && "type" in format
      ? format["type"]
      : "text";
  return type !== "text" || grammarFields.some((field) => isPresent(body[field]));
}

function numberOf(value: JsonValue | undefined): number | null {
  return typeof value === "number" ? value : null;
}

/** The client's maximum of tokens, under the name that its body has. */
function tokensMaxOf(
  body: JsonObject,
): { readonly field: "max_tokens" | "max_completion_tokens"; readonly max: number } | null {
  for (const field of ["max_completion_tokens", "max_tokens"] as const) {
    const max = numberOf(body[field]);
    if (max !== null) return { field, max };
  }
  return null;
}

/** The body with what is left of the client's minimum and maximum of tokens. */
function withTokensLeft(body: JsonObject, tokensBefore: number): JsonObject {
  const limit = tokensMaxOf(body);
  const min = numberOf(body["min_tokens"]);
  return {
    ...body,
    ...(limit === null ? {} : { [limit.field]: limit.max - tokensBefore }),
    ...(min === null ? {} : { min_tokens: Math.max(0, min - tokensBefore) }),
  };
}

function continueChat(
  request: TurnRequest,
  choice: ChoiceState,
  promptTokenIds: readonly number[] | null,
  ability: "tokens" | "text",
  contextTokensMax: number,
): ContinuationPlan {
  const { body } = request.engine;
  const fromTokens = ability === "tokens" && promptTokenIds !== null && choice.hasAllTokenIds;
  const own = Object.keys(body).filter(
    (field) =>
      isPresent(body[field]) &&
      !["messages", "max_tokens", "max_completion_tokens", "min_tokens", "n"].includes(field) &&
      !(field === "response_format" && !isStructured(body)) &&
      !(field === "logprobs" && body[field] === false),
  );
  if (fromTokens && own.every((field) => sharedFields.has(field))) {
    const tokensBefore = choice.tokenCount;
    const sampling = Object.fromEntries(own.map((field) => [field, body[field]]));
    // A chat without a limit has the whole context; a completion without one has 16 tokens (OpenAI, create completion).
    const contextLeft = contextTokensMax - promptTokenIds.length;
    const max = Math.min(tokensMaxOf(body)?.max ?? contextLeft, contextLeft);
    const left = withTokensLeft(
      {
        ...sampling,
        max_tokens: max,
        ...(isPresent(body["min_tokens"]) ? { min_tokens: body["min_tokens"] } : {}),
      },
      tokensBefore,
    );
    const prompt = [...promptTokenIds, ...choice.tokenIds.slice(0, choice.tokenCount)];
    return { kind: "continue", path: "completions", body: { ...left, prompt }, tokensBefore };
  }
  // A template leaves the reasoning of an answer out, so that its text alone is not what the shard had generated from.
  if (choice.hasReasoning) return { kind: "regenerate" };
  const messages = Array.isArray(body["messages"]) ? body["messages"] : [];
  const begun = { role: "assistant", content: textOf(choice) };
  const tokensBefore = tokensOf(choice);
  return {
    kind: "continue",
    path: "chat/completions",
    body: {
      ...withTokensLeft(body, tokensBefore),
      messages: [...messages, begun],
      continue_final_message: true,
      add_generation_prompt: false,
    },
    tokensBefore,
  };
}

function continueCompletion(
  request: TurnRequest,
  choice: ChoiceState,
  promptTokenIds: readonly number[] | null,
  ability: "tokens" | "text",
): ContinuationPlan {
  const { body } = request.engine;
  const isPlain = !isPresent(body["logprobs"]) && body["echo"] !== true;
  if (!isPlain || isPresent(body["suffix"]) || (numberOf(body["best_of"]) ?? 1) > 1) {
    return { kind: "regenerate" };
  }
  // An engine holds text back that may become a stop sequence: its tokens are ahead of what it said.
  const fromTokens = ability === "tokens" && !isPresent(body["stop"]);
  if (fromTokens && promptTokenIds !== null && choice.hasAllTokenIds) {
    const tokensBefore = choice.tokenCount;
    const prompt = [...promptTokenIds, ...choice.tokenIds.slice(0, choice.tokenCount)];
    const left = withTokensLeft(body, tokensBefore);
    return { kind: "continue", path: "completions", body: { ...left, prompt }, tokensBefore };
  }
  if (typeof body["prompt"] !== "string") return { kind: "regenerate" };
  const prompt = body["prompt"] + textOf(choice);
  const tokensBefore = tokensOf(choice);
  const left = withTokensLeft(body, tokensBefore);
  return { kind: "continue", path: "completions", body: { ...left, prompt }, tokensBefore };
}

/**
 * How an answer that has begun goes on at another shard of the same model and revision. From where it stopped, where that is
 * exact: one choice of plain text, not inside a tool call, a grammar or an open reasoning block, at an engine that is known
 * to continue. Otherwise from the start, compared with what was
 * delivered. Nothing is ever added to the prompt but the answer itself.
 */
export function planContinuation(
  request: TurnRequest,
  choices: readonly ChoiceState[],
  promptTokenIds: readonly number[] | null,
  ability: ContinuationAbility,
  contextTokensMax: number,
): ContinuationPlan {
  const { path, body } = request.engine;
  const choice = choices[0];
  const isOne = choicesOf(path, body) === 1 && choices.length === 1;
  if (ability === "none" || !isOne || choice === undefined || path === "embeddings") {
    return { kind: "regenerate" };
  }
  const isText = choice.said.every(
    ({ refusal, toolCalls }) => refusal === undefined && toolCalls === undefined,
  );
  const hasText = textOf(choice) !== "";
  if (!isText || !hasText || choice.finishReason !== null || isStructured(body)) {
    return { kind: "regenerate" };
  }
  const limit = tokensMaxOf(body);
  if (limit !== null && tokensOf(choice) >= limit.max) return { kind: "cutAtLength" };
  return path === "completions"
    ? continueCompletion(request, choice, promptTokenIds, ability)
    : continueChat(request, choice, promptTokenIds, ability, contextTokensMax);
}
