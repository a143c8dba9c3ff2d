import * as z from "zod";
import type { JsonObject, JsonValue } from "../json.ts";
import { imageDetail, imageUrl } from "./chat-message.ts";
import type { ItemReference, NewItem, ParseResult } from "./generation-request.ts";
import { isJsonObject } from "./parse-json-body.ts";
import type { PathSegment } from "./parameter-path.ts";
import { refuseType, refuseUnsupported } from "./refusals.ts";
import { readWith } from "./schema-refusal.ts";

const inputText = z.looseObject({ type: z.literal("input_text"), text: z.string() });
const inputImage = z.looseObject({
  type: z.literal("input_image"),
  image_url: imageUrl.nullish(),
  detail: imageDetail.nullish(),
  file_id: z.string().nullish(),
});
const outputText = z.looseObject({ type: z.literal("output_text"), text: z.string() });
const refusal = z.looseObject({ type: z.literal("refusal"), refusal: z.string() });

const inputParts = z.array(
  z
    .discriminatedUnion(
      "type",
      [
        inputText,
        inputImage,
        z.looseObject({ type: z.literal("input_file") }),
        z.looseObject({ type: z.literal("input_audio") }),
      ],
      { error: "one of 'input_text', 'input_image'" },
    )
    .superRefine((part, context) => {
      if (part.type === "input_file" || part.type === "input_audio") {
        context.addIssue({
          code: "custom",
          message: "Files and audio are not served; send text or images.",
          params: { isUnsupported: true },
          path: ["type"],
        });
      } else if (part.type === "input_image" && typeof part.image_url !== "string") {
        context.addIssue({
          code: "custom",
          message: "an http, https or data:image/ URL; uploaded files are not served",
          path: ["image_url"],
        });
      }
    }),
);
const outputParts = z.array(
  z.discriminatedUnion("type", [outputText, refusal], {
    error: "one of 'output_text', 'refusal'",
  }),
);

const status = z.enum(["in_progress", "completed", "incomplete"]).nullish();
const name = z.string().nullish();
const inputMessage = { content: z.union([z.string(), inputParts]), status, name };
const message = z.discriminatedUnion(
  "role",
  [
    z.looseObject({ role: z.literal("user"), ...inputMessage }),
    z.looseObject({ role: z.literal("system"), ...inputMessage }),
    z.looseObject({ role: z.literal("developer"), ...inputMessage }),
    z.looseObject({
      role: z.literal("assistant"),
      content: z.union([z.string(), outputParts]),
      status,
      name,
    }),
  ],
  { error: "one of 'user', 'system', 'developer', 'assistant'" },
);
const functionCall = z.looseObject({
  call_id: z.string().min(1),
  name: z.string().min(1),
  arguments: z.string(),
  status,
});
const functionCallOutput = z.looseObject({
  call_id: z.string().min(1),
  output: z.union([z.string(), inputParts]),
  status,
});
const reasoning = z.looseObject({
  summary: z.array(z.looseObject({ type: z.string(), text: z.string() })).nullish(),
  content: z.array(z.looseObject({ type: z.string(), text: z.string() })).nullish(),
  encrypted_content: z.string().nullish(),
  status,
});
const reference = z.looseObject({ id: z.string().min(1).max(200) });

type Read = ParseResult<NewItem | ItemReference>;

/** The object without nulls and without `id`: ids are minted here, so that no client can name another's item. */
function strip(value: JsonObject): Record<string, JsonValue> {
  const fields: Record<string, JsonValue> = {};
  for (const [key, field] of Object.entries(value)) {
    if (field !== null && field !== undefined && key !== "id") fields[key] = field;
  }
  return fields;
}

function readMessage(value: JsonObject, path: readonly PathSegment[]): Read {
  const read = readWith(message, value, path);
  if (!read.ok) return read;
  const { content } = value;
  const type = value["role"] === "assistant" ? "output_text" : "input_text";
  const parts = typeof content === "string" ? [{ type, text: content }] : content;
  return { ok: true, request: { ...strip(value), type: "message", content: parts } };
}

/** One element of `input` or `items` at `path`: checked, and in the one form that histories have. */
function readInputItem(value: JsonValue, path: readonly PathSegment[]): Read {
  if (!isJsonObject(value)) return refuseType(path, value, "an object");
  const type: unknown =
    value["type"] ?? (value["role"] === undefined ? "item_reference" : "message");
  switch (type) {
    case "message":
      return readMessage(value, path);
    case "function_call": {
      const read = readWith(functionCall, value, path);
      return read.ok ? { ok: true, request: { ...strip(value), type } } : read;
    }
    case "function_call_output": {
      const read = readWith(functionCallOutput, value, path);
      return read.ok ? { ok: true, request: { ...strip(value), type } } : read;
    }
    case "reasoning": {
      const read = readWith(reasoning, value, path);
      return read.ok ? { ok: true, request: { ...strip(value), type } } : read;
    }
    case "item_reference": {
      const read = readWith(reference, value, path);
      return read.ok ? { ok: true, request: { type, id: read.value.id } } : read;
    }
    default:
      if (typeof type !== "string") return refuseType([...path, "type"], type, "a string");
      return refuseUnsupported(
        [...path, "type"],
        "Items are 'message', 'function_call', 'function_call_output', 'reasoning' or 'item_reference'.",
      );
  }
}

/** All elements, or the first refusal. */
export function readInputItems(
  values: readonly JsonValue[],
  path: readonly PathSegment[],
): ParseResult<readonly (NewItem | ItemReference)[]> {
  const items: (NewItem | ItemReference)[] = [];
  for (const [index, value] of values.entries()) {
    const read = readInputItem(value, [...path, index]);
    if (!read.ok) return read;
    items.push(read.request);
  }
  return { ok: true, request: items };
}

/** Whether the element stands for an item that is stored elsewhere. */
export function isItemReference(item: NewItem | ItemReference): item is ItemReference {
  return item.type === "item_reference";
}
