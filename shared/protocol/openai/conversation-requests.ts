import * as z from "zod";
import type { JsonObject } from "../json.ts";
import type {
  ConversationCreateRequest,
  ConversationUpdateRequest,
  ItemsCreateRequest,
  ListItemsQuery,
  NewItem,
  ParseResult,
} from "./generation-request.ts";
import { isItemReference, readInputItems } from "./input-items.ts";
import { formatPath } from "./parameter-path.ts";
import { metadata } from "./parameters.ts";
import { unknownQueryParameter } from "./parse-json-body.ts";
import { refuseAt, refuseMissing, refuseType, refuseUnsupported, refuseValue } from "./refusals.ts";
import { readList } from "./request-rules.ts";
import { readWith } from "./schema-refusal.ts";

/** Items that one call may add (OpenAI API reference, conversations). */
const itemsPerCallMax = 20;
/** Items that one page may hold (OpenAI API reference). */
const pageItemsMax = 100;
/** Items of a page when the client names no `limit` (OpenAI API reference). */
const pageItemsDefault = 20;

const withMetadata = z.looseObject({ metadata: metadata.nullish() });

function readItems(body: JsonObject): ParseResult<readonly NewItem[]> {
  const list = readList(body, "items", itemsPerCallMax);
  if (!list.ok) return list;
  const read = readInputItems(list.value, ["items"]);
  if (!read.ok) return read;
  const items: NewItem[] = [];
  for (const [index, item] of read.request.entries()) {
    if (isItemReference(item)) {
      return refuseUnsupported(["items", index, "type"], "Send the whole item.");
    }
    items.push(item);
  }
  return { ok: true, request: items };
}

function refuseUnknownFields(body: JsonObject, known: readonly string[]) {
  const unknown = Object.keys(body).find((key) => !known.includes(key));
  if (unknown === undefined) return null;
  const advice = `Known here: ${known.join(", ")}.`;
  return refuseAt([unknown], `Unknown parameter: '${formatPath([unknown])}'. ${advice}`);
}

/** `POST /v1/conversations`. Metadata and items may be left out; unknown fields are refused, as by OpenAI. */
export function parseConversationCreate(body: JsonObject): ParseResult<ConversationCreateRequest> {
  const unknown = refuseUnknownFields(body, ["metadata", "items"]);
  if (unknown !== null) return unknown;
  const read = readWith(withMetadata, { metadata: body["metadata"] }, []);
  if (!read.ok) return read;
  const given = body["items"] ?? [];
  const isEmpty = Array.isArray(given) && given.length === 0;
  const items = isEmpty ? { ok: true as const, request: [] } : readItems(body);
  if (!items.ok) return items;
  return { ok: true, request: { metadata: read.value.metadata ?? {}, items: items.request } };
}

/** `POST /v1/conversations/{id}`: `metadata` is required; null empties it. */
export function parseConversationUpdate(body: JsonObject): ParseResult<ConversationUpdateRequest> {
  const unknown = refuseUnknownFields(body, ["metadata"]);
  if (unknown !== null) return unknown;
  if (body["metadata"] === undefined) return refuseMissing(["metadata"]);
  const read = readWith(withMetadata, body, []);
  if (!read.ok) return read;
  return { ok: true, request: { metadata: read.value.metadata ?? {} } };
}

/** `POST /v1/conversations/{id}/items`: 1–20 whole items. */
export function parseItemsCreate(body: JsonObject): ParseResult<ItemsCreateRequest> {
  const unknown = refuseUnknownFields(body, ["items"]);
  if (unknown !== null) return unknown;
  const items = readItems(body);
  return items.ok ? { ok: true, request: { items: items.request } } : items;
}

/** Parameters that a list of items knows; `include` asks for nothing that items here do not hold anyway. */
const listParameters = ["after", "limit", "order", "include", "include[]"];

/**
 * The query of a list of items, from (name, value) pairs such as `URLSearchParams`. A parameter that stands twice is
 * refused, `include` aside.
 */
export function parseListItemsQuery(
  pairs: Iterable<readonly [string, string]>,
): ParseResult<ListItemsQuery> {
  const values = new Map<string, string>();
  for (const [name, value] of pairs) {
    const unknown = unknownQueryParameter([name], listParameters);
    if (unknown !== null) return { ok: false, error: unknown };
    if (name.startsWith("include")) continue;
    if (values.has(name)) return refuseAt([name], `The query parameter '${name}' is given twice.`);
    values.set(name, value);
  }
  const order = values.get("order") ?? "desc";
  if (order !== "asc" && order !== "desc") return refuseValue(["order"], "one of 'asc', 'desc'");
  const limitText = values.get("limit") ?? String(pageItemsDefault);
  if (!/^\d{1,9}$/.test(limitText)) return refuseType(["limit"], limitText, "an integer");
  const limit = Number(limitText);
  if (limit < 1 || limit > pageItemsMax) {
    return refuseValue(["limit"], `an integer from 1 to ${pageItemsMax}`);
  }
  const after = values.get("after") ?? null;
  if (after !== null && (after === "" || after.length > 200)) {
    return refuseValue(["after"], "the id of an item");
  }
  return { ok: true, request: { after, limit, order } };
}
