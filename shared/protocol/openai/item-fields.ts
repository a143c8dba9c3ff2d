import type { JsonObject, JsonValue } from "../json.ts";

/** Fields of items and chat messages that have a meaning in one of the two forms and are translated or left out. */
const translated: ReadonlySet<string> = new Set([
  "id",
  "type",
  "status",
  "phase",
  "role",
  "content",
  "refusal",
  "annotations",
  "audio",
  "tool_calls",
  "tool_call_id",
  "function_call",
  "call_id",
  "output",
  "arguments",
  "input",
  "caller",
  "created_by",
  "namespace",
  "summary",
  "encrypted_content",
]);

/** What else a message carries (`name`, engine extensions): it goes along in both directions. */
export function extraFields(source: JsonObject): Record<string, JsonValue> {
  const fields: Record<string, JsonValue> = {};
  for (const [key, value] of Object.entries(source)) {
    if (value !== null && value !== undefined && !translated.has(key)) fields[key] = value;
  }
  return fields;
}
