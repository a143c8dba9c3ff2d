/** Prompts as tokens: chats by the model's own template. */
import { EngineError } from "../simulated-engine/http/errors.ts";
import type { ChatRequest } from "../simulated-engine/http/requests.ts";
import type { ChatItem, ChatWrapper, LlamaModel, Token } from "./llama-library.ts";

type Message = ChatRequest["messages"][number];

function textOf({ content }: Message): string {
  if (typeof content === "string") return content;
  return (content ?? [])
    .map((part) => {
      if (part.type === "text" || part.type === "input_text") return part.text;
      throw new EngineError(400, `messages: parts of type ${part.type} are not supported.`);
    })
    .join("\n");
}

function itemOf(message: Message): ChatItem {
  switch (message.role) {
    case "system":
    case "developer":
      return { type: "system", text: textOf(message) };
    case "user":
      return { type: "user", text: textOf(message) };
    case "assistant":
      return { type: "model", response: [textOf(message)] };
    case "tool":
    case "function":
      throw new EngineError(400, `messages: the role ${message.role} is not supported.`);
  }
}

function withBegin(model: LlamaModel, tokens: readonly Token[]): readonly Token[] {
  const { bos, shouldPrependBosToken } = model.tokens;
  return shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
}

/**
 * Tokens of a chat. `continue_final_message` leaves the assistant's last message open, `add_generation_prompt: false` closes
 * it with the model's end of turn; otherwise the assistant's next message is opened. @throws EngineError 400.
 */
export function chatTokens(
  model: LlamaModel,
  wrapper: ChatWrapper,
  request: ChatRequest,
): readonly Token[] {
  const items = request.messages.map(itemOf);
  const isLastModel = items.at(-1)?.type === "model";
  const isContinued = request.continue_final_message === true;
  if (isContinued && request.add_generation_prompt !== false)
    throw new EngineError(
      400,
      "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
    );
  if (request.add_generation_prompt === false && !isLastModel)
    throw new EngineError(
      400,
      "`continue_final_message` and `add_generation_prompt: false` need a last message of the assistant.",
    );
  const isNew = request.add_generation_prompt !== false;
  const chatHistory: readonly ChatItem[] = isNew
    ? [...items, ...(isLastModel ? [{ type: "user", text: "" } as const] : []), openItem]
    : items;
  const { contextText } = wrapper.generateContextState({ chatHistory });
  const tokens = withBegin(model, contextText.tokenize(model.tokenizer));
  if (isNew || isContinued) return tokens;
  const end = model.tokens.eot ?? model.tokens.eos;
  return end === null ? tokens : [...tokens, end];
}

const openItem: ChatItem = { type: "model", response: [""] };

/** Tokens of a text completion's prompt; ids are taken as they are. @throws EngineError 400 for several prompts. */
export function completionTokens(
  model: LlamaModel,
  prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[],
): readonly Token[] {
  if (typeof prompt === "string") return withBegin(model, model.tokenize(prompt, false));
  const [only] = prompt;
  if (typeof only === "number") return prompt.filter((id) => typeof id === "number");
  if (only === undefined || prompt.length > 1)
    throw new EngineError(400, "prompt: several prompts in one request are not supported.");
  return typeof only === "string" ? withBegin(model, model.tokenize(only, false)) : only;
}
