import * as z from "zod";
import type { Capability } from "../../config/topology.ts";
import type { JsonObject, JsonValue } from "../json.ts";
import {
  affinityTextOf,
  checkMessage,
  estimateMessages,
  measureMessage,
  unsupported,
} from "./chat-message.ts";
import {
  chatFunctions,
  chatToolChoice,
  chatTools,
  functionName,
  responseFormat,
} from "./chat-tools.ts";
import { engineFields } from "./engine-body.ts";
import { estimateTokens } from "./estimate-tokens.ts";
import type { ChatRequest, ParseResult } from "./generation-request.ts";
import { isJsonObject } from "./parse-json-body.ts";
import { choicesPerPromptMax, common, integer, sampling, toolsMax } from "./parameters.ts";
import { refuseAt, refuseType, refuseValue } from "./refusals.ts";
import type { Refused } from "./refusals.ts";
import {
  checkLengths,
  checkStreamOptions,
  commonParts,
  messagesMax,
  readList,
} from "./request-rules.ts";
import { readWith } from "./schema-refusal.ts";

const schema = z.looseObject({
  ...common,
  ...sampling,
  n: integer(1, choicesPerPromptMax).nullish(),
  max_tokens: integer(1).nullish(),
  max_completion_tokens: integer(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: integer(0, 20).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning_effort: z.string().min(1).max(32).nullish(),
  verbosity: z.string().min(1).max(32).nullish(),
  tools: chatTools.nullish(),
  tool_choice: chatToolChoice.nullish(),
  functions: chatFunctions.nullish(),
  function_call: z
    .union([z.enum(["none", "auto"]), z.looseObject({ name: functionName })])
    .nullish(),
  response_format: responseFormat.nullish(),
  modalities: z.array(z.literal("text")).nullish(),
  audio: unsupported("Audio is not served."),
  web_search_options: unsupported("No hosted tools are served; declare functions in 'tools'."),
});

type ChatFields = z.output<typeof schema>;

function checkMessages(values: readonly JsonValue[]): Refused | readonly JsonObject[] {
  const messages: JsonObject[] = [];
  for (const [index, value] of values.entries()) {
    const path = ["messages", index];
    if (!isJsonObject(value)) return refuseType(path, value, "an object");
    const refused = checkMessage(value, path);
    if (refused !== null) return refused;
    messages.push(value);
  }
  return messages;
}

/** Rules that span several fields. */
function checkTogether(fields: ChatFields): Refused | null {
  const streamOptions = checkStreamOptions(fields);
  if (streamOptions !== null) return streamOptions;
  const { max_tokens: older, max_completion_tokens: newer } = fields;
  if (typeof older === "number" && typeof newer === "number" && older !== newer) {
    return refuseAt(
      ["max_tokens"],
      "'max_tokens' and 'max_completion_tokens' differ: set only 'max_completion_tokens'.",
    );
  }
  if (typeof fields.top_logprobs === "number" && fields.logprobs !== true) {
    return refuseAt(["top_logprobs"], "'top_logprobs' is only allowed when 'logprobs' is true.");
  }
  const hasTools = (fields.tools ?? []).length > 0;
  if (!hasTools && (fields.tool_choice ?? null) !== null && fields.tool_choice !== "none") {
    return refuseAt(["tool_choice"], "'tool_choice' is only allowed when 'tools' are given.");
  }
  return checkNamedTool(fields);
}

function checkNamedTool({ tools, tool_choice: choice }: ChatFields): Refused | null {
  if (typeof choice !== "object" || choice === null || choice.type !== "function") return null;
  const { name } = choice.function;
  const isKnown = (tools ?? []).some(
    (tool) => tool.type === "function" && tool.function.name === name,
  );
  if (isKnown) return null;
  return refuseValue(["tool_choice", "function", "name"], "the name of a function in 'tools'");
}

function capabilitiesOf(fields: ChatFields, hasImages: boolean): Capability[] {
  const capabilities: Capability[] = ["chat"];
  const functions = (fields.tools ?? []).length + (fields.functions ?? []).length;
  if (functions > 0) capabilities.push("tools");
  const format = fields.response_format?.type ?? "text";
  if (format !== "text") capabilities.push("json");
  if (hasImages) capabilities.push("vision");
  return capabilities;
}

/** Estimated tokens of the tools' schemas, which engines put in front of the prompt. */
export function estimateTools(body: JsonObject): number {
  const tools = body["tools"] ?? body["functions"];
  return Array.isArray(tools) && tools.length > 0 ? estimateTokens(JSON.stringify(tools)) : 0;
}

/**
 * `POST /v1/chat/completions`. Known fields are checked against OpenAI's reference, unknown ones pass to the engine.
 * When `max_tokens` and `max_completion_tokens` are both given they must agree, and only the newer one goes on.
 */
export function parseChatRequest(body: JsonObject): ParseResult<ChatRequest> {
  const tooLong = checkLengths(body, ["tools", "functions"], toolsMax);
  if (tooLong !== null) return tooLong;
  const { messages: _, ...rest } = body;
  const read = readWith(schema, rest, []);
  if (!read.ok) return read;
  const list = readList(body, "messages", messagesMax);
  if (!list.ok) return list;
  const messages = checkMessages(list.value);
  if ("ok" in messages) return messages;
  const fields = read.value;
  const refused = checkTogether(fields);
  if (refused !== null) return refused;
  const hasImages = messages.some((message) => measureMessage(message).images > 0);
  const newer = fields.max_completion_tokens ?? null;
  const request: ChatRequest = {
    ...commonParts(fields, false),
    choices: fields.n ?? 1,
    completionTokensMax: newer ?? fields.max_tokens ?? null,
    capabilities: capabilitiesOf(fields, hasImages),
    engineBody: engineFields(body, newer === null ? ["messages"] : ["messages", "max_tokens"]),
    promptTokensEstimate: estimateMessages(messages) + estimateTools(body),
    affinityText: affinityTextOf(messages),
    hasImages,
    messages,
  };
  return { ok: true, request };
}
