import type { JsonObject, JsonValue } from "../json.ts";
import { isJsonObject } from "./parse-json-body.ts";

/** Fields of parts that are translated; all others (cache hints, engine extensions) go along unchanged. */
const translated: ReadonlySet<string> = new Set([
  "type",
  "text",
  "annotations",
  "logprobs",
  "image_url",
  "detail",
  "file_id",
  "refusal",
]);

function extras(part: JsonObject): Record<string, JsonValue> {
  const fields: Record<string, JsonValue> = {};
  for (const [key, value] of Object.entries(part)) {
    if (value !== null && value !== undefined && !translated.has(key)) fields[key] = value;
  }
  return fields;
}

function objects(content: JsonValue | undefined): JsonObject[] {
  return Array.isArray(content) ? content.filter((part) => isJsonObject(part)) : [];
}

function partOfItem(part: JsonObject, textType: string): JsonObject {
  const rest = extras(part);
  if (part["type"] === "refusal") return { type: "refusal", refusal: part["refusal"], ...rest };
  if (part["type"] === "image_url") {
    const image = part["image_url"];
    const { url, detail } = isJsonObject(image) ? image : { url: image, detail: null };
    return { type: "input_image", image_url: url, detail: detail ?? "auto", ...rest };
  }
  const text = { type: textType, text: part["text"] ?? "" };
  return textType === "output_text" ? { ...text, annotations: [], ...rest } : { ...text, ...rest };
}

/** Chat content as the parts of an item; `textType` is `output_text` for an assistant, else `input_text`. */
export function partsOfContent(content: JsonValue | undefined, textType: string): JsonObject[] {
  if (typeof content === "string") return [partOfItem({ type: "text", text: content }, textType)];
  return objects(content).map((part) => partOfItem(part, textType));
}

function partOfChat(part: JsonObject): JsonObject {
  const rest = extras(part);
  if (part["type"] === "refusal") return { type: "refusal", refusal: part["refusal"], ...rest };
  if (part["type"] === "input_image") {
    const detail = part["detail"] ?? "auto";
    const url = part["image_url"];
    return {
      type: "image_url",
      image_url: detail === "auto" ? { url } : { url, detail },
      ...rest,
    };
  }
  return { type: "text", text: part["text"] ?? "", ...rest };
}

/**
 * An item's parts as chat content: a string when it is one plain text, null when it is empty, else parts. Chat's short and
 * long form of one text are the same message, so one form is enough.
 */
export function contentOfParts(content: JsonValue | undefined): string | JsonObject[] | null {
  if (typeof content === "string") return content;
  const parts = objects(content).map(partOfChat);
  const [only] = parts;
  if (only === undefined) return null;
  const text = only["text"];
  const isPlain = parts.length === 1 && typeof text === "string" && Object.keys(only).length === 2;
  return isPlain ? text : parts;
}

/** Parts of an item in the form that is stored: what OpenAI always sets is set. */
export function storedParts(content: JsonValue | undefined, textType: string): JsonObject[] {
  if (typeof content === "string") return partsOfContent(content, textType);
  return objects(content).map((part) => {
    if (part["type"] === "output_text") return { annotations: [], ...part };
    if (part["type"] === "input_image") return { detail: "auto", ...part };
    return part;
  });
}
