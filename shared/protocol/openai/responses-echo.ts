import type { JsonObject, JsonValue } from "../json.ts";
import type { FunctionTools, ResponsesFields } from "./responses-fields.ts";

function echoTools(tools: FunctionTools): JsonValue[] {
  return tools.map(({ name, description, parameters, strict }) => ({
    type: "function",
    name,
    description: description ?? null,
    parameters: (parameters ?? null) as JsonValue,
    strict: strict ?? null,
  }));
}

/**
 * The request's fields as the response object repeats them, OpenAI's defaults where the client gave none. `conversation`
 * is there only when the client named one; `strict` of a tool stays null when it was not asked for.
 */
export function responseEcho(
  body: JsonObject,
  fields: ResponsesFields,
  tools: FunctionTools,
): JsonObject {
  const { conversation } = fields;
  const conversationId = typeof conversation === "string" ? conversation : conversation?.id;
  const text = body["text"] as JsonObject | null | undefined;
  return {
    background: fields.background ?? false,
    instructions: fields.instructions ?? null,
    max_output_tokens: fields.max_output_tokens ?? null,
    max_tool_calls: fields.max_tool_calls ?? null,
    metadata: fields.metadata ?? {},
    parallel_tool_calls: fields.parallel_tool_calls ?? true,
    previous_response_id: fields.previous_response_id ?? null,
    prompt_cache_key: fields.prompt_cache_key ?? null,
    reasoning: {
      effort: fields.reasoning?.effort ?? null,
      summary: fields.reasoning?.summary ?? null,
    },
    safety_identifier: fields.safety_identifier ?? null,
    service_tier: "default",
    store: fields.store ?? true,
    temperature: fields.temperature ?? 1,
    text: {
      ...text,
      format: text?.["format"] ?? { type: "text" },
    },
    tool_choice: body["tool_choice"] ?? "auto",
    tools: echoTools(tools),
    top_logprobs: fields.top_logprobs ?? 0,
    top_p: fields.top_p ?? 1,
    truncation: fields.truncation ?? "disabled",
    user: fields.user ?? null,
    ...(conversationId === undefined ? {} : { conversation: { id: conversationId } }),
  };
}
