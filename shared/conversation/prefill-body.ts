import type { JsonObject } from "../protocol/json.ts";

/**
 * Fields of a chat request that shape its prompt: chat templates read these and no others (vLLM, protocol
 * ChatCompletionRequest). All else decides how the answer is sampled, and a prefill has none.
 */
const promptFields = [
  "messages",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
  "documents",
  "chat_template",
  "chat_template_kwargs",
  "reasoning_effort",
] as const;

/** The request that makes an engine compute and cache the prompt of `body`, for one token that nobody reads. */
export function prefillBody(body: JsonObject): JsonObject {
  const shaping = promptFields.flatMap((field) => {
    const value = body[field];
    return value === undefined ? [] : [[field, value] as const];
  });
  return { ...Object.fromEntries(shaping), max_tokens: 1, temperature: 0 };
}
