import { invariant } from "../../errors/invariant.ts";
import type { ItemRecord } from "../internal/turn-outcome.ts";
import type { JsonObject, JsonValue } from "../json.ts";
import { contentOfParts, partsOfContent, storedParts } from "./content-parts.ts";
import type { ItemReference, ItemType, NewItem, ParseResult } from "./generation-request.ts";
import { isItemReference } from "./input-items.ts";
import { extraFields } from "./item-fields.ts";
import { messagesOfItems } from "./items-to-messages.ts";
import { isJsonObject } from "./parse-json-body.ts";

/** Makes the id of a new item of this type; the caller knows conversation and turn. */
export type MintItemId = (type: ItemType) => string;

/** The item of a record. @throws InvariantError when the stored text is no JSON object. */
export function parseItem(record: ItemRecord): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(record.json);
  } catch {
    value = null;
  }
  invariant(isJsonObject(value), "a stored item is a JSON object");
  return value;
}

function recordOf(type: ItemType, mintItemId: MintItemId, fields: JsonObject): ItemRecord {
  const id = mintItemId(type);
  return { id, type, json: JSON.stringify({ id, type, ...fields }) };
}

/**
 * The history as messages for a chat engine, `instructions` first as a system message. They are not part of the history:
 * each response brings its own.
 */
export function itemsToMessages(
  items: readonly ItemRecord[],
  instructions: string | null,
): JsonObject[] {
  return messagesOfItems(items.map(parseItem), instructions);
}

function callItem(call: JsonValue, mintItemId: MintItemId): ItemRecord[] {
  if (!isJsonObject(call)) return [];
  const { id: call_id, function: called, custom } = call;
  const status = "completed";
  if (isJsonObject(custom)) {
    const { name, input } = custom;
    return [recordOf("custom_tool_call", mintItemId, { status, call_id, name, input })];
  }
  if (!isJsonObject(called)) return [];
  const fields = { status, call_id, name: called["name"], arguments: called["arguments"] };
  return [recordOf("function_call", mintItemId, fields)];
}

/** `isSeparated`: the item before belongs to another assistant message, which calls alone would join. */
function assistantItems(
  message: JsonObject,
  mintItemId: MintItemId,
  isSeparated: boolean,
): ItemRecord[] {
  const content = partsOfContent(message["content"], "output_text");
  const refusal = message["refusal"];
  if (typeof refusal === "string") content.push({ type: "refusal", refusal });
  const extra = extraFields(message);
  const listed = message["tool_calls"];
  const calls: JsonValue[] = Array.isArray(listed) ? [...listed] : [];
  const older = message["function_call"];
  if (isJsonObject(older)) calls.push({ id: "", function: older });
  const items: ItemRecord[] = [];
  const callsAreEnough = calls.length > 0 && content.length === 0 && !isSeparated;
  if (!callsAreEnough || Object.keys(extra).length > 0) {
    const fields = { status: "completed", role: "assistant", content, ...extra };
    items.push(recordOf("message", mintItemId, fields));
  }
  return [...items, ...calls.flatMap((call) => callItem(call, mintItemId))];
}

/**
 * Chat messages as items. `itemsToMessages` gives the same messages back, one for one, with `developer` as `system`, one
 * plain text part as a string, and a refusal part that ends the content in `refusal`.
 */
export function messagesToItems(
  messages: readonly JsonObject[],
  mintItemId: MintItemId,
): ItemRecord[] {
  const status = "completed";
  let previousRole: JsonValue | undefined;
  return messages.flatMap((message) => {
    const { role, content } = message;
    const isSeparated = previousRole === "assistant";
    previousRole = role;
    if (role === "assistant") return assistantItems(message, mintItemId, isSeparated);
    if (role === "tool" || role === "function") {
      const parts = contentOfParts(partsOfContent(content, "input_text"));
      const output =
        typeof parts === "string" ? parts : partsOfContent(content ?? "", "input_text");
      const call = role === "tool" ? { call_id: message["tool_call_id"] } : {};
      const fields = { status, ...call, output, ...extraFields(message) };
      return [recordOf("function_call_output", mintItemId, fields)];
    }
    const parts = partsOfContent(content, "input_text");
    const fields = { status, role, content: parts, ...extraFields(message) };
    return [recordOf("message", mintItemId, fields)];
  });
}

/** Items that a client sent, in the form that OpenAI stores and lists: ids, statuses and defaults are set. */
export function newItemsToRecords(items: readonly NewItem[], mintItemId: MintItemId): ItemRecord[] {
  return items.map((item) => {
    const { type, status, content, ...rest } = item;
    if (type === "reasoning") {
      const parts = content === undefined ? {} : { content };
      return recordOf(type, mintItemId, { summary: [], ...rest, ...parts });
    }
    const stored = { status: status === "incomplete" ? status : "completed", ...rest };
    if (type !== "message") return recordOf(type, mintItemId, stored);
    const textType = item["role"] === "assistant" ? "output_text" : "input_text";
    return recordOf(type, mintItemId, { ...stored, content: storedParts(content, textType) });
  });
}

const itemTypes: ReadonlySet<string> = new Set<ItemType>([
  "message",
  "function_call",
  "custom_tool_call",
  "function_call_output",
  "reasoning",
]);

function isItemType(type: string): type is ItemType {
  return itemTypes.has(type);
}

/**
 * `input` with every reference replaced by the item it names, out of `found` (by id). A reference that is not there is
 * `not_found`, whoever's it is.
 */
export function resolveItemReferences(
  items: readonly (NewItem | ItemReference)[],
  found: ReadonlyMap<string, ItemRecord>,
): ParseResult<readonly NewItem[]> {
  const resolved: NewItem[] = [];
  for (const [index, item] of items.entries()) {
    if (!isItemReference(item)) {
      resolved.push(item);
      continue;
    }
    const record = found.get(item.id);
    if (record === undefined || !isItemType(record.type)) {
      const param = `input[${index}].id`;
      const message = `The item that '${param}' refers to was not found: send the whole item.`;
      return { ok: false, error: { code: "not_found", message, param } };
    }
    const { id: _, ...fields } = parseItem(record);
    resolved.push({ ...fields, type: record.type });
  }
  return { ok: true, request: resolved };
}

/** Messages as a chat engine takes them: `developer` becomes `system`, nulls but that of `content` are left out. */
export function toEngineMessages(messages: readonly JsonObject[]): JsonObject[] {
  return messages.map((message) => {
    const fields: Record<string, JsonValue> = {};
    for (const [key, value] of Object.entries(message)) {
      if (value === undefined || (value === null && key !== "content")) continue;
      if (key === "tool_calls" && Array.isArray(value) && value.length === 0) continue;
      fields[key] = value;
    }
    if (fields["role"] === "developer") fields["role"] = "system";
    return fields;
  });
}

/** What makes two messages the same: who said what, and which calls it made; not how it was written down. */
function signatureOf(message: JsonObject): string {
  const { role, content, refusal, name, tool_calls, tool_call_id, function_call } = message;
  return JSON.stringify([
    role,
    content ?? "",
    refusal ?? null,
    name ?? null,
    tool_calls ?? null,
    tool_call_id ?? null,
    function_call ?? null,
  ]);
}

/**
 * How many of `messages` repeat the stored history: all of it, from its first message on, or 0. A client that sends its
 * whole chat each time therefore adds only what is new.
 */
export function repeatedHistoryLength(
  history: readonly ItemRecord[],
  messages: readonly JsonObject[],
): number {
  const stored = itemsToMessages(history, null);
  if (stored.length > messages.length) return 0;
  const sent = itemsToMessages(
    messagesToItems(messages.slice(0, stored.length), () => "item"),
    null,
  );
  const isRepeated = stored.every((message, index) => {
    const other = sent[index];
    return other !== undefined && signatureOf(message) === signatureOf(other);
  });
  return isRepeated ? stored.length : 0;
}
