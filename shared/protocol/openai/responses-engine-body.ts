import type { JsonObject, JsonValue } from "../json.ts";
import { engineFields } from "./engine-body.ts";
import type { FunctionTools, ResponsesFields } from "./responses-fields.ts";

/**
 * Fields that an engine never sees as they are: those of the Responses API, translated below or of no meaning to a chat
 * engine, and those of the chat API that Responses do not have, which would undo what was checked.
 */
const notForEngines = [
  "input",
  "instructions",
  "previous_response_id",
  "conversation",
  "background",
  "truncation",
  "max_output_tokens",
  "max_tool_calls",
  "text",
  "reasoning",
  "include",
  "prompt",
  "tools",
  "tool_choice",
  "context_management",
  "moderation",
  "access_programs",
  "image",
  "top_logprobs",
  "messages",
  "n",
  "best_of",
  "max_tokens",
  "max_completion_tokens",
  "response_format",
  "functions",
  "function_call",
  "logprobs",
  "modalities",
  "audio",
  "web_search_options",
  "echo",
];

/** An object without its nulls and undefineds. */
function defined(fields: Record<string, JsonValue | undefined>): JsonObject {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== null && value !== undefined),
  );
}

function chatTools(tools: FunctionTools): JsonValue[] {
  return tools.map(({ name, description, parameters, strict }) => ({
    type: "function",
    function: defined({
      name,
      description,
      parameters: parameters as JsonObject | null | undefined,
      strict,
    }),
  }));
}

function chatToolChoice(choice: ResponsesFields["tool_choice"]): JsonValue | undefined {
  if (choice === null || choice === undefined || typeof choice === "string")
    return choice ?? undefined;
  if (choice.type === "function") return { type: "function", function: { name: choice.name } };
  return {
    type: "allowed_tools",
    allowed_tools: {
      mode: choice.mode,
      tools: choice.tools.map(({ name }) => ({ type: "function", function: { name } })),
    },
  };
}

function chatResponseFormat(text: ResponsesFields["text"]): JsonValue | undefined {
  const format = text?.format;
  if (format === null || format === undefined || format.type === "text") return undefined;
  if (format.type === "json_object") return { type: "json_object" };
  const { name, description, schema, strict } = format;
  return {
    type: "json_schema",
    json_schema: defined({
      name,
      description,
      schema: schema as JsonObject | null | undefined,
      strict,
    }),
  };
}

/** The request in chat's names, without messages. Sampling parameters and unknown fields pass. */
export function chatBodyOfResponse(
  body: JsonObject,
  fields: ResponsesFields,
  tools: FunctionTools,
): JsonObject {
  const hasTools = tools.length > 0;
  const wantsLogprobs =
    (fields.top_logprobs ?? 0) > 0 ||
    (fields.include ?? []).includes("message.output_text.logprobs");
  const { parallel_tool_calls: _, ...passed } = engineFields(body, notForEngines);
  return {
    ...passed,
    ...defined({
      max_completion_tokens: fields.max_output_tokens,
      tools: hasTools ? chatTools(tools) : undefined,
      tool_choice: hasTools ? chatToolChoice(fields.tool_choice) : undefined,
      parallel_tool_calls: hasTools ? fields.parallel_tool_calls : undefined,
      response_format: chatResponseFormat(fields.text),
      verbosity: fields.text?.verbosity,
      reasoning_effort: fields.reasoning?.effort,
      logprobs: wantsLogprobs ? true : undefined,
      top_logprobs: wantsLogprobs ? (fields.top_logprobs ?? 0) : undefined,
    }),
  };
}
