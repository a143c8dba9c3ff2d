import type { Capability } from "../../config/topology.ts";
import type { JsonObject } from "../json.ts";
import { affinityTextOf, estimateMessages, measureMessage } from "./chat-message.ts";
import { estimateTools } from "./chat-request.ts";
import type {
  ItemReference,
  NewItem,
  ParseResult,
  ResponsesRequest,
} from "./generation-request.ts";
import { isItemReference, readInputItems } from "./input-items.ts";
import { messagesOfItems } from "./items-to-messages.ts";
import { toolsMax } from "./parameters.ts";
import { refuseAt, refuseMissing, refuseType, refuseValue } from "./refusals.ts";
import type { Refused } from "./refusals.ts";
import { checkLengths, checkStreamOptions, commonParts, messagesMax } from "./request-rules.ts";
import { chatBodyOfResponse } from "./responses-engine-body.ts";
import { responseEcho } from "./responses-echo.ts";
import { functionTools, responsesFields, toolTypes } from "./responses-fields.ts";
import type { FunctionTools, ResponsesFields } from "./responses-fields.ts";
import { readWith } from "./schema-refusal.ts";

type Items = readonly (NewItem | ItemReference)[];

/** `input`: a string is one user message. It may be left out only where a history stands before it. */
function readInput(body: JsonObject, fields: ResponsesFields): ParseResult<Items> {
  const input = body["input"] ?? [];
  if (typeof input !== "string" && !Array.isArray(input)) {
    return refuseType(["input"], input, "a string or an array of items");
  }
  if (input.length === 0) {
    const hasHistory = (fields.previous_response_id ?? fields.conversation ?? null) !== null;
    return hasHistory ? { ok: true, request: [] } : refuseMissing(["input"]);
  }
  if (typeof input !== "string") return readInputItems(input, ["input"]);
  const content = [{ type: "input_text", text: input }];
  return { ok: true, request: [{ type: "message", role: "user", content }] };
}

function readTools(body: JsonObject): ParseResult<FunctionTools> {
  const tools = body["tools"] ?? [];
  const types = readWith(toolTypes, tools, ["tools"]);
  if (!types.ok) return types;
  const read = readWith(functionTools, tools, ["tools"]);
  return read.ok ? { ok: true, request: read.value } : read;
}

/** Rules that span several fields. */
function checkTogether(fields: ResponsesFields, tools: FunctionTools): Refused | null {
  if (fields.background === true && fields.store === false) {
    return refuseAt(["background"], "'background' needs 'store': its answer is read by its id.");
  }
  const streamOptions = checkStreamOptions(fields);
  if (streamOptions !== null) return streamOptions;
  if ((fields.conversation ?? null) !== null && (fields.previous_response_id ?? null) !== null) {
    return refuseAt(
      ["previous_response_id"],
      "'previous_response_id' and 'conversation' exclude each other: give one of them.",
    );
  }
  const choice = fields.tool_choice;
  if (choice === "required" && tools.length === 0) {
    return refuseAt(["tool_choice"], "'tool_choice' is 'required' but no 'tools' are given.");
  }
  if (typeof choice !== "object" || choice === null) return null;
  const names = choice.type === "function" ? [choice.name] : choice.tools.map(({ name }) => name);
  const isKnown = names.every((name) => tools.some((tool) => tool.name === name));
  return isKnown ? null : refuseValue(["tool_choice"], "names of functions in 'tools'");
}

function capabilitiesOf(
  fields: ResponsesFields,
  tools: FunctionTools,
  hasImages: boolean,
): Capability[] {
  const capabilities: Capability[] = ["chat"];
  if (tools.length > 0) capabilities.push("tools");
  if ((fields.text?.format?.type ?? "text") !== "text") capabilities.push("json");
  if (hasImages) capabilities.push("vision");
  return capabilities;
}

/**
 * `POST /v1/responses`, translated to a chat engine's request. Hosted tools and stored prompts are refused by name. References to stored items stay in `items` until `resolveItemReferences` replaces them.
 */
export function parseResponsesRequest(body: JsonObject): ParseResult<ResponsesRequest> {
  const tooLong =
    checkLengths(body, ["input"], messagesMax) ?? checkLengths(body, ["tools"], toolsMax);
  if (tooLong !== null) return tooLong;
  const { input: _input, tools: _tools, ...rest } = body;
  const read = readWith(responsesFields, rest, []);
  if (!read.ok) return read;
  const fields = read.value;
  const tools = readTools(body);
  if (!tools.ok) return tools;
  const refused = checkTogether(fields, tools.request);
  if (refused !== null) return refused;
  const items = readInput(body, fields);
  if (!items.ok) return items;
  const instructions = fields.instructions ?? null;
  const own = items.request.filter((item): item is NewItem => !isItemReference(item));
  const messages = messagesOfItems(own, instructions);
  const hasImages = messages.some((message) => measureMessage(message).images > 0);
  const { conversation } = fields;
  const request: ResponsesRequest = {
    ...commonParts({ ...fields, stream_options: null }, true),
    choices: 1,
    completionTokensMax: fields.max_output_tokens ?? null,
    capabilities: capabilitiesOf(fields, tools.request, hasImages),
    engineBody: chatBodyOfResponse(body, fields, tools.request),
    promptTokensEstimate: estimateMessages(messages) + estimateTools(body),
    affinityText: affinityTextOf(messages),
    hasImages,
    items: items.request,
    instructions,
    previousResponseId: fields.previous_response_id ?? null,
    conversationId: (typeof conversation === "string" ? conversation : conversation?.id) ?? null,
    background: fields.background ?? false,
    truncation: fields.truncation ?? "disabled",
    echo: responseEcho(body, fields, tools.request),
  };
  return { ok: true, request };
}
