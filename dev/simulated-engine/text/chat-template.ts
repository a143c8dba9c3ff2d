/** Turns a chat request into prompt tokens, and decides what form its answer takes. */
import type { AnswerForm } from "./answer.ts";
import type { ChatRequest } from "../http/requests.ts";
import { hashText } from "./hash.ts";
import { encode, specialTokens, type Author } from "./tokenizer.ts";

/** Tokens of an image part: 85 in low detail, as OpenAI counts; 255 otherwise. */
const imageTokens = { low: 85, high: 255 } as const;

type Message = ChatRequest["messages"][number];

const roleTokens: Readonly<Record<string, number>> = {
  system: specialTokens.system,
  developer: specialTokens.system,
  user: specialTokens.user,
  assistant: specialTokens.assistant,
  tool: specialTokens.tool,
  function: specialTokens.tool,
};

/** Not `push(...ids)`: its arguments would not fit on the stack for long prompts. */
function append(ids: number[], more: readonly number[]): void {
  for (const id of more) ids.push(id);
}

function imageIds(url: string, detail: string | undefined): number[] {
  const count = detail === "low" ? imageTokens.low : imageTokens.high;
  // The picture changes the answer, its bytes do not become text.
  const digest = hashText(url).toString(16).padStart(14, "0");
  const ids = encode(digest, "prompt").slice(0, 5);
  return [...Array.from({ length: count - ids.length }, () => specialTokens.image), ...ids];
}

function contentIds(message: Message, author: Author): number[] {
  const { content } = message;
  if (content === null || content === undefined) return [];
  if (typeof content === "string") return encode(content, author);
  const ids: number[] = [];
  let texts: string[] = [];
  for (const part of content) {
    if (part.type === "image_url") {
      append(ids, encode(texts.join("\n"), author));
      texts = [];
      const image = part.image_url;
      ids.push(
        ...(typeof image === "string"
          ? imageIds(image, undefined)
          : imageIds(image.url, image.detail)),
      );
    } else texts.push(part.type === "refusal" ? part.refusal : part.text);
  }
  // A list of texts reads as vLLM's "string" content format: joined by line feeds.
  append(ids, encode(texts.join("\n"), author));
  return ids;
}

function messageIds(message: Message, isOpen: boolean): number[] {
  const author = message.role === "assistant" ? "assistant" : "prompt";
  const ids = [roleTokens[message.role] ?? specialTokens.user];
  if (message.name !== undefined) append(ids, encode(`${message.name}\n`, "prompt"));
  if (message.tool_call_id !== undefined)
    append(ids, encode(`${message.tool_call_id}\n`, "prompt"));
  append(ids, contentIds(message, author));
  for (const call of message.tool_calls ?? []) {
    ids.push(specialTokens.call);
    append(ids, encode(`${call.function.name} ${call.function.arguments}`, "prompt"));
  }
  if (!isOpen) ids.push(specialTokens.end);
  return ids;
}

/** Prompt tokens of a chat request. With `continue_final_message` the last message stays open. */
export function chatPromptIds(request: ChatRequest): number[] {
  const ids: number[] = [specialTokens.begin];
  const tools = request.tool_choice === "none" ? [] : (request.tools ?? []);
  for (const tool of tools)
    append(ids, [specialTokens.tools, ...encode(JSON.stringify(tool), "prompt")]);
  if (
    request.response_format !== undefined &&
    request.response_format !== null &&
    request.response_format.type !== "text"
  )
    append(ids, [
      specialTokens.format,
      ...encode(JSON.stringify(request.response_format), "prompt"),
    ]);
  const last = request.messages.length - 1;
  for (const [at, message] of request.messages.entries())
    for (const id of messageIds(message, request.continue_final_message === true && at === last))
      ids.push(id);
  if (request.add_generation_prompt !== false) ids.push(specialTokens.assistant);
  return ids;
}

function textOf(message: Message | undefined): string {
  const content = message?.content;
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => (part.type === "text" ? part.text : "")).join("\n");
}

/** Form demanded by `response_format`. */
export function formOf(format: ChatRequest["response_format"]): AnswerForm {
  if (format?.type === "json_object")
    return {
      kind: "json",
      schema: {
        type: "object",
        properties: { simulated: { const: true }, text: { type: "string" } },
      },
    };
  if (format?.type === "json_schema")
    return { kind: "json", schema: format.json_schema.schema ?? {} };
  return { kind: "text" };
}

/**
 * Form of a chat answer. `required` calls the first tool, a named choice that one, `auto` each tool whose name the
 * last message mentions, provided that a user wrote it: an answer to a tool's result is text.
 */
export function chatForm(request: ChatRequest): AnswerForm {
  const tools = (request.tools ?? []).map((tool) => ({
    name: tool.function.name,
    parameters: tool.function.parameters ?? { type: "object", properties: {} },
  }));
  const choice = request.tool_choice ?? (tools.length > 0 ? "auto" : "none");
  const isContinuation = request.continue_final_message === true;
  if (tools.length > 0 && choice !== "none" && !isContinuation) {
    if (typeof choice === "object")
      return { kind: "calls", tools: tools.filter((tool) => tool.name === choice.function.name) };
    const last = request.messages.at(-1);
    const text = last?.role === "user" ? textOf(last) : "";
    const mentioned = tools.filter((tool) => text.includes(tool.name));
    const wanted = mentioned.length === 0 && choice === "required" ? tools.slice(0, 1) : mentioned;
    if (wanted.length > 0)
      return {
        kind: "calls",
        tools: request.parallel_tool_calls === false ? wanted.slice(0, 1) : wanted,
      };
  }
  return formOf(request.response_format);
}
