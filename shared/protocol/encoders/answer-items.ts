import type { ItemRecord } from "../internal/turn-outcome.ts";
import type { JsonObject, JsonValue } from "../json.ts";
import type { ChoiceState } from "./answer-state.ts";

/** An output item in the Responses and Conversations APIs' shape, with its id. */
export interface OutputItem {
  readonly id: string;
  readonly type: string;
  readonly item: JsonObject;
}

export function reasoningItem(id: string, text: string): OutputItem {
  const content = text === "" ? [] : [{ type: "reasoning_text", text }];
  return { id, type: "reasoning", item: { id, type: "reasoning", summary: [], content } };
}

/** What a message's content is made of; at most one of each. */
export type MessagePart = "output_text" | "refusal";

/** An assistant's message; `parts` in the order in which a stream named them. */
export function messageItem(
  id: string,
  { text, refusal }: Pick<ChoiceState, "text" | "refusal">,
  status: string,
  parts: readonly MessagePart[],
  logprobs: readonly JsonValue[] = [],
): OutputItem {
  const content = parts.map((type) =>
    type === "output_text" ? { type, text, annotations: [], logprobs } : { type, refusal },
  );
  return { id, type: "message", item: { id, type: "message", role: "assistant", status, content } };
}

export function functionCallItem(
  id: string,
  call: { readonly id: string; readonly name: string; readonly arguments: string },
  status: string,
): OutputItem {
  const item = {
    id,
    type: "function_call",
    status,
    call_id: call.id,
    name: call.name,
    arguments: call.arguments,
  };
  return { id, type: "function_call", item };
}

export function itemRecord({ id, type, item }: OutputItem): ItemRecord {
  return { id, type, json: JSON.stringify(item) };
}

/** Whether a choice ended before it was whole. */
export function isCutOff(finishReason: string | null): boolean {
  return finishReason === "length" || finishReason === "content_filter";
}

/** The items of a chat answer: reasoning, message, function calls; a message is left out when only tools were called. */
export function answerItems(state: ChoiceState, itemIdStem: string): readonly ItemRecord[] {
  const status = isCutOff(state.finishReason) ? "incomplete" : "completed";
  const items: OutputItem[] = [];
  const nextId = (prefix: string): string => `${prefix}_${itemIdStem}_${items.length}`;
  if (state.reasoning !== "") items.push(reasoningItem(nextId("rs"), state.reasoning));
  if (state.text !== "" || state.refusal !== "" || state.toolCalls.length === 0) {
    const parts: MessagePart[] = [];
    if (state.text !== "" || state.refusal === "") parts.push("output_text");
    if (state.refusal !== "") parts.push("refusal");
    items.push(messageItem(nextId("msg"), state, status, parts));
  }
  for (const call of state.toolCalls) items.push(functionCallItem(nextId("fc"), call, status));
  return items.map(itemRecord);
}
