import type { JsonObject, JsonValue } from "../json.ts";

/**
 * Fields that a client never sets on an engine: the gateway owns them, or they reach into the engine (caches of other
 * tenants, token ids that the continuation of a stream relies on).
 */
const gatewayOwned: ReadonlySet<string> = new Set([
  "model",
  "stream",
  "stream_options",
  "store",
  "metadata",
  "user",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
  "prompt_cache_options",
  "service_tier",
  "cache_salt",
  "priority",
  "request_id",
  "session_id",
  "kv_transfer_params",
  "return_token_ids",
  "return_tokens_as_token_ids",
  "continue_final_message",
  "add_generation_prompt",
]);

/**
 * The fields of `body` that go to an engine: unknown ones pass, nulls count as absent, what the gateway owns and what
 * `dropped` names is left out.
 */
export function engineFields(body: JsonObject, dropped: readonly string[]): JsonObject {
  const fields: Record<string, JsonValue> = {};
  for (const [key, value] of Object.entries(body)) {
    if (value === null || value === undefined) continue;
    if (gatewayOwned.has(key) || dropped.includes(key)) continue;
    fields[key] = value;
  }
  return fields;
}
