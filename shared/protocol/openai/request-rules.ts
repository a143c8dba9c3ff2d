import type { JsonObject, JsonValue } from "../json.ts";
import { refuseAt, refuseMissing, refuseTooMany, refuseType } from "./refusals.ts";
import type { Refused } from "./refusals.ts";

/** Messages of a chat, and items of a response's input (reliability.md 9.4, Body). */
export const messagesMax = 2048;

/** A list of 1–`max` elements at `key`, checked before any schema looks at its elements; or why it is none. */
export function readList(
  body: JsonObject,
  key: string,
  max: number,
): { readonly ok: true; readonly value: readonly JsonValue[] } | Refused {
  const value = body[key];
  if (value === undefined || value === null) return refuseMissing([key]);
  if (!Array.isArray(value)) return refuseType([key], value, "an array");
  if (value.length === 0) return refuseType([key], value, "an array with at least one element");
  if (value.length > max) return refuseTooMany([key], max, "elements");
  return { ok: true, value };
}

/** Why a list at one of `keys` is longer than `max`, before a schema looks at each of its elements; else null. */
export function checkLengths(
  body: JsonObject,
  keys: readonly string[],
  max: number,
): Refused | null {
  for (const key of keys) {
    const value = body[key];
    if (Array.isArray(value) && value.length > max) return refuseTooMany([key], max, "elements");
  }
  return null;
}

/** `stream_options` without `stream` is a mistake that OpenAI refuses too. */
export function checkStreamOptions(request: {
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: object | null | undefined;
}): Refused | null {
  if (request.stream === true || (request.stream_options ?? null) === null) return null;
  return refuseAt(
    ["stream_options"],
    "The 'stream_options' parameter is only allowed when 'stream' is true.",
  );
}

/** What every API reads from its checked fields in the same way. */
export interface CommonFields {
  readonly model: string;
  readonly stream?: boolean | null | undefined;
  readonly stream_options?:
    | { readonly include_usage?: boolean | null | undefined }
    | null
    | undefined;
  readonly store?: boolean | null | undefined;
  readonly metadata?: Record<string, string> | null | undefined;
  readonly user?: string | null | undefined;
  readonly safety_identifier?: string | null | undefined;
  readonly prompt_cache_key?: string | null | undefined;
}

/** The part of a generation request that is read alike whatever the API. `isStoredByDefault` is the API's default. */
export function commonParts(fields: CommonFields, isStoredByDefault: boolean) {
  const isStreamed = fields.stream ?? false;
  return {
    model: fields.model,
    stream: isStreamed,
    includeUsage: isStreamed && (fields.stream_options?.include_usage ?? false),
    isStored: fields.store ?? isStoredByDefault,
    metadata: fields.metadata ?? {},
    promptCacheKey: fields.prompt_cache_key ?? null,
    userKey: fields.safety_identifier ?? fields.user ?? null,
  };
}
