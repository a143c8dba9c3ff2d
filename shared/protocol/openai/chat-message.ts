import * as z from "zod";
import type { JsonObject, JsonValue } from "../json.ts";
import { estimateTokens, imageTokens, messageTokens } from "./estimate-tokens.ts";
import { isJsonObject } from "./parse-json-body.ts";
import { refuseType } from "./refusals.ts";
import type { Refused } from "./refusals.ts";
import type { PathSegment } from "./parameter-path.ts";
import { toolsMax } from "./parameters.ts";
import { readWith } from "./schema-refusal.ts";

/** A field that is refused wherever it holds a value; `advice` tells the client what to do instead. */
export function unsupported(advice: string): z.ZodType<null | undefined> {
  return z.custom<never>(() => false, { error: advice, params: { isUnsupported: true } }).nullish();
}

/** A content part of a kind that no engine here reads. */
function unsupportedPart<Kind extends string>(type: Kind, advice: string) {
  return z
    .looseObject({ type: z.literal(type) })
    .refine(() => false, { error: advice, params: { isUnsupported: true }, path: ["type"] });
}

/** The URL of an image: fetched, or inline. */
export const imageUrl = z
  .string()
  .regex(/^(?:https?:\/\/|data:image\/)/i, "an http, https or data:image/ URL");
/** How closely an image is looked at. */
export const imageDetail = z.enum(["auto", "low", "high", "original"]);

const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });
const refusalPart = z.looseObject({ type: z.literal("refusal"), refusal: z.string() });
const imagePart = z.looseObject({
  type: z.literal("image_url"),
  image_url: z.looseObject({ url: imageUrl, detail: imageDetail.nullish() }),
});
const audioPart = unsupportedPart("input_audio", "Audio is not served; send text or images.");
const filePart = unsupportedPart("file", "Files are not served; send their text.");

const textParts = z.array(z.discriminatedUnion("type", [textPart], { error: "'text'" })).min(1);
const userParts = z
  .array(
    z.discriminatedUnion("type", [textPart, imagePart, audioPart, filePart], {
      error: "one of 'text', 'image_url'",
    }),
  )
  .min(1);
const assistantParts = z
  .array(
    z.discriminatedUnion("type", [textPart, refusalPart], { error: "one of 'text', 'refusal'" }),
  )
  .min(1);

const toolCall = z.discriminatedUnion(
  "type",
  [
    z.looseObject({
      id: z.string().min(1),
      type: z.literal("function"),
      function: z.looseObject({ name: z.string().min(1), arguments: z.string() }),
    }),
    z.looseObject({
      id: z.string().min(1),
      type: z.literal("custom"),
      custom: z.looseObject({ name: z.string().min(1), input: z.string() }),
    }),
  ],
  { error: "one of 'function', 'custom'" },
);

const name = z.string().nullish();
const instruction = { content: z.union([z.string(), textParts]), name };

const message = z.discriminatedUnion(
  "role",
  [
    z.looseObject({ role: z.literal("system"), ...instruction }),
    z.looseObject({ role: z.literal("developer"), ...instruction }),
    z.looseObject({
      role: z.literal("user"),
      content: z.union([z.string(), userParts]),
      name,
    }),
    z.looseObject({
      role: z.literal("assistant"),
      content: z.union([z.string(), assistantParts]).nullish(),
      refusal: z.string().nullish(),
      name,
      audio: unsupported("Audio is not served."),
      tool_calls: z.array(toolCall).max(toolsMax).nullish(),
      function_call: z.looseObject({ name: z.string().min(1), arguments: z.string() }).nullish(),
    }),
    z.looseObject({
      role: z.literal("tool"),
      content: z.union([z.string(), textParts]),
      tool_call_id: z.string().min(1),
    }),
    z.looseObject({
      role: z.literal("function"),
      name: z.string().min(1),
      content: z.string().nullish(),
    }),
  ],
  { error: "one of 'system', 'developer', 'user', 'assistant', 'tool', 'function'" },
);

/** The refusal of a message that chat completions do not allow, or null. */
export function checkMessage(value: JsonValue, path: readonly PathSegment[]): Refused | null {
  const read = readWith(message, value, path);
  if (!read.ok) return read;
  if (read.value.role !== "assistant") return null;
  const { content, refusal, tool_calls, function_call } = read.value;
  const hasCalls = (tool_calls ?? []).length > 0 || (function_call ?? null) !== null;
  if (hasCalls || (content ?? null) !== null || (refusal ?? null) !== null) return null;
  const wanted = "a string or an array, since the message has no 'refusal' and no 'tool_calls'";
  return refuseType([...path, "content"], content ?? null, wanted);
}

/** What of a message counts as prompt. */
export interface MessageMeasure {
  readonly text: string;
  readonly images: number;
}

/** The text of a message in order (its parts, refusal and tool calls) and how many images it shows. */
export function measureMessage(value: JsonObject): MessageMeasure {
  const texts: string[] = [];
  let images = 0;
  const content = value["content"];
  if (typeof content === "string") texts.push(content);
  for (const part of Array.isArray(content) ? content : []) {
    if (!isJsonObject(part)) continue;
    if (typeof part["text"] === "string") texts.push(part["text"]);
    else if (typeof part["refusal"] === "string") texts.push(part["refusal"]);
    else if (part["image_url"] !== undefined) images += 1;
  }
  if (typeof value["refusal"] === "string") texts.push(value["refusal"]);
  const calls = value["tool_calls"];
  if (Array.isArray(calls) && calls.length > 0) texts.push(JSON.stringify(calls));
  if (isJsonObject(value["function_call"])) texts.push(JSON.stringify(value["function_call"]));
  return { text: texts.join("\n"), images };
}

/** Estimated tokens of messages, images included. */
export function estimateMessages(messages: readonly JsonObject[]): number {
  let tokens = 0;
  for (const each of messages) {
    const { text, images } = measureMessage(each);
    tokens += messageTokens + estimateTokens(text) + images * imageTokens;
  }
  return tokens;
}

/** Characters of {@link affinityTextOf}: about 256 tokens, the shared prefix by which prompts meet (routing.md). */
export const affinityCharactersMax = 1024;

/** The beginning of a conversation up to and with its first user message, cut at 1,024 characters. */
export function affinityTextOf(messages: readonly JsonObject[]): string {
  let text = "";
  for (const each of messages) {
    text += `${measureMessage(each).text}\n`;
    if (each["role"] === "user" || text.length >= affinityCharactersMax) break;
  }
  return text.slice(0, affinityCharactersMax);
}
