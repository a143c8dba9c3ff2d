import type { JsonObject, JsonValue } from "../json.ts";
import { contentOfParts } from "./content-parts.ts";
import { extraFields } from "./item-fields.ts";
import { isJsonObject } from "./parse-json-body.ts";

/** An assistant message that following calls may still join. */
interface OpenAssistant {
  readonly fields: Record<string, JsonValue>;
  readonly content: string | JsonObject[] | null;
  readonly refusal: JsonValue | undefined;
  readonly calls: JsonObject[];
  functionCall: JsonObject | null;
}

function textOf(parts: JsonValue | undefined): string {
  if (!Array.isArray(parts)) return "";
  const list: readonly JsonValue[] = parts;
  return list
    .flatMap((part) =>
      isJsonObject(part) && typeof part["text"] === "string" ? [part["text"]] : [],
    )
    .join("\n");
}

/** A refusal that ends the content stands in chat's own field for it; others stay parts. */
function openAssistant(item: JsonObject): OpenAssistant {
  const parts = Array.isArray(item["content"]) ? item["content"] : item["content"];
  const list: readonly JsonValue[] = Array.isArray(parts) ? parts : [];
  const refusals = list.filter((part) => isJsonObject(part) && part["type"] === "refusal");
  const last = list.at(-1);
  const ending =
    refusals.length === 1 && isJsonObject(last) && last["type"] === "refusal" ? last : null;
  return {
    fields: extraFields(item),
    content: contentOfParts(ending === null ? parts : list.slice(0, -1)),
    refusal: ending?.["refusal"],
    calls: [],
    functionCall: null,
  };
}

function closeAssistant(open: OpenAssistant, reasoning: string): JsonObject {
  const hasCalls = open.calls.length > 0 || open.functionCall !== null;
  const mayBeNull = hasCalls || open.refusal !== undefined;
  return {
    role: "assistant",
    content: open.content ?? (mayBeNull ? null : ""),
    ...(open.refusal === undefined ? {} : { refusal: open.refusal }),
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...open.fields,
    ...(open.calls.length > 0 ? { tool_calls: open.calls } : {}),
    ...(open.functionCall === null ? {} : { function_call: open.functionCall }),
  };
}

function addCall(open: OpenAssistant, item: JsonObject): void {
  const { call_id: id, name } = item;
  if (item["type"] === "custom_tool_call") {
    open.calls.push({ id, type: "custom", custom: { name, input: item["input"] } });
  } else if (id === "") {
    open.functionCall = { name, arguments: item["arguments"] };
  } else {
    open.calls.push({ id, type: "function", function: { name, arguments: item["arguments"] } });
  }
}

function outputMessage(item: JsonObject): JsonObject {
  const content = contentOfParts(item["output"]) ?? "";
  const callId = item["call_id"];
  if (typeof callId !== "string") return { role: "function", content, ...extraFields(item) };
  return { role: "tool", content, tool_call_id: callId, ...extraFields(item) };
}

/**
 * Items as the messages of a chat engine. Calls join the assistant message before them; `developer` becomes `system`,
 * which every chat template knows. Reasoning is given back (`reasoning_content`) only after the last user message, inside
 * a running loop of tool calls, as OpenAI and the templates of reasoning models do; older reasoning is left out.
 */
export function messagesOfItems(
  items: readonly JsonObject[],
  instructions: string | null,
): JsonObject[] {
  const messages: JsonObject[] = [];
  if (instructions !== null) messages.push({ role: "system", content: instructions });
  const lastUser = items.findLastIndex((item) => item["role"] === "user");
  let open: OpenAssistant | null = null;
  let reasoning = "";
  const close = (): void => {
    if (open === null) return;
    messages.push(closeAssistant(open, reasoning));
    open = null;
    reasoning = "";
  };
  for (const [index, item] of items.entries()) {
    const type: unknown = item["type"];
    switch (type) {
      case "reasoning":
        if (open?.calls.length === 0) close();
        if (index > lastUser) reasoning += textOf(item["content"]);
        break;
      case "function_call":
      case "custom_tool_call":
        open ??= openAssistant({});
        addCall(open, item);
        break;
      case "function_call_output":
        close();
        messages.push(outputMessage(item));
        break;
      default:
        close();
        if (item["role"] === "assistant") {
          open = openAssistant(item);
        } else {
          const role = item["role"] === "developer" ? "system" : (item["role"] ?? "user");
          messages.push({
            role,
            content: contentOfParts(item["content"]) ?? "",
            ...extraFields(item),
          });
        }
    }
  }
  close();
  return messages;
}
