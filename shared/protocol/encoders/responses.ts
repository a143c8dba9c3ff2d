import type { ErrorOutcome } from "../../errors/gateway-error.ts";
import type { TurnEncoder } from "../encoder.ts";
import { isFields } from "../engine/fields.ts";
import type { DeltaEvent } from "../engine-event.ts";
import type { ClientFrame } from "../internal/stream.ts";
import type { Rendering } from "../internal/turn-request.ts";
import type { JsonObject, JsonValue } from "../json.ts";
import type { Usage } from "../usage.ts";
import {
  functionCallItem,
  isCutOff,
  itemRecord,
  messageItem,
  reasoningItem,
} from "./answer-items.ts";
import type { MessagePart, OutputItem } from "./answer-items.ts";
import { chooseToolCallId } from "./answer-state.ts";
import { jsonText } from "./json-text.ts";

/** Usage in OpenAI's responses shape. */
export function responsesUsage(usage: Usage): JsonObject {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens },
    output_tokens: usage.completionTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.promptTokens + usage.completionTokens,
  };
}

/**
 * An output item on its way. Reasoning and messages end when an item of another kind begins; a function call is open until the turn
 * ends, because an engine may go on with its arguments at any time and one call must stay one item.
 */
type OpenItem =
  | { readonly kind: "reasoning"; readonly id: string; readonly index: number; text: string }
  | {
      readonly kind: "message";
      readonly id: string;
      readonly index: number;
      text: string;
      refusal: string;
      readonly parts: MessagePart[];
      readonly logprobs: JsonValue[];
    }
  | {
      readonly kind: "call";
      readonly id: string;
      readonly index: number;
      readonly toolIndex: number;
      readonly callId: string;
      name: string;
      arguments: string;
    };

/** Log probabilities of a chat chunk (`{content: [...]}`) as the list that responses events carry. */
function logprobListOf(value: JsonValue | undefined): readonly JsonValue[] {
  const content = isFields(value) ? value["content"] : null;
  return Array.isArray(content) ? content : [];
}

function finalItem(open: OpenItem, status: string): OutputItem {
  if (open.kind === "reasoning") return reasoningItem(open.id, open.text);
  if (open.kind === "message") return messageItem(open.id, open, status, open.parts, open.logprobs);
  return functionCallItem(
    open.id,
    { id: open.callId, name: open.name, arguments: open.arguments },
    status,
  );
}

/**
 * The Responses API: its event sequence with gapless `sequence_number` from 0, which is the frame's seq less one, or one
 * response object. One choice.
 */
export function createResponsesEncoder(rendering: Rendering): TurnEncoder {
  const { publicId, createdAtSeconds, model, itemIdStem, echo } = rendering;
  let sequence = 0;
  let finishReason: string | null = null;
  const open: OpenItem[] = [];
  const callIds: { readonly id: string }[] = [];
  const output: (OutputItem | null)[] = [];

  function frame(type: string, fields: JsonObject): ClientFrame {
    const data = jsonText({ type, sequence_number: sequence, ...fields });
    sequence += 1;
    return { event: type, data };
  }

  function response(status: string, extra: JsonObject = {}): JsonObject {
    return {
      id: publicId,
      object: "response",
      created_at: createdAtSeconds,
      status,
      error: null,
      incomplete_details: null,
      ...echo,
      model,
      output: output.flatMap((item) => (item === null ? [] : [item.item])),
      usage: null,
      ...extra,
    };
  }

  function place(item: OpenItem): { readonly item_id: string; readonly output_index: number } {
    return { item_id: item.id, output_index: item.index };
  }

  function add(item: OpenItem, frames: ClientFrame[]): void {
    open.push(item);
    output.push(null);
    const begun: JsonObject =
      item.kind === "reasoning"
        ? { id: item.id, type: "reasoning", summary: [], content: [] }
        : item.kind === "message"
          ? { id: item.id, type: "message", role: "assistant", status: "in_progress", content: [] }
          : functionCallItem(
              item.id,
              { id: item.callId, name: item.name, arguments: "" },
              "in_progress",
            ).item;
    frames.push(frame("response.output_item.added", { output_index: item.index, item: begun }));
    if (item.kind === "reasoning") {
      frames.push(
        frame("response.content_part.added", {
          ...place(item),
          content_index: 0,
          part: { type: "reasoning_text", text: "" },
        }),
      );
    }
  }

  function closeParts(item: Extract<OpenItem, { kind: "message" }>, frames: ClientFrame[]): void {
    item.parts.forEach((kind, contentIndex) => {
      const at = { ...place(item), content_index: contentIndex };
      if (kind === "output_text") {
        const { text, logprobs } = item;
        frames.push(frame("response.output_text.done", { ...at, text, logprobs }));
        const part = { type: kind, text, annotations: [], logprobs };
        frames.push(frame("response.content_part.done", { ...at, part }));
      } else {
        const { refusal } = item;
        frames.push(frame("response.refusal.done", { ...at, refusal }));
        frames.push(frame("response.content_part.done", { ...at, part: { type: kind, refusal } }));
      }
    });
  }

  function close(item: OpenItem, status: string, frames: ClientFrame[]): void {
    open.splice(open.indexOf(item), 1);
    const whole = finalItem(item, status);
    output[item.index] = whole;
    if (item.kind === "reasoning") {
      const at = { ...place(item), content_index: 0 };
      frames.push(frame("response.reasoning_text.done", { ...at, text: item.text }));
      const part = { type: "reasoning_text", text: item.text };
      frames.push(frame("response.content_part.done", { ...at, part }));
    } else if (item.kind === "message") {
      closeParts(item, frames);
    } else {
      const { name, arguments: args } = item;
      frames.push(
        frame("response.function_call_arguments.done", { ...place(item), name, arguments: args }),
      );
    }
    frames.push(frame("response.output_item.done", { output_index: item.index, item: whole.item }));
  }

  /** Closes what an item of `kind` ends as it begins or goes on. */
  function closeOthers(kind: OpenItem["kind"], frames: ClientFrame[]): void {
    // At most one reasoning or message item is open, so that the list does not change under the search.
    const other = open.find((item) => item.kind !== kind && item.kind !== "call");
    if (other !== undefined) close(other, "completed", frames);
  }

  function messageOf(frames: ClientFrame[]): Extract<OpenItem, { kind: "message" }> {
    closeOthers("message", frames);
    const found = open.find((item) => item.kind === "message");
    if (found !== undefined) return found;
    const index = output.length;
    const item: OpenItem = {
      kind: "message",
      id: `msg_${itemIdStem}_${index}`,
      index,
      text: "",
      refusal: "",
      parts: [],
      logprobs: [],
    };
    add(item, frames);
    return item;
  }

  function partOf(
    item: Extract<OpenItem, { kind: "message" }>,
    kind: MessagePart,
    frames: ClientFrame[],
  ): { readonly item_id: string; readonly output_index: number; readonly content_index: number } {
    let contentIndex = item.parts.indexOf(kind);
    if (contentIndex < 0) {
      contentIndex = item.parts.length;
      item.parts.push(kind);
      const part =
        kind === "output_text"
          ? { type: kind, text: "", annotations: [], logprobs: [] }
          : { type: kind, refusal: "" };
      frames.push(
        frame("response.content_part.added", { ...place(item), content_index: contentIndex, part }),
      );
    }
    return { ...place(item), content_index: contentIndex };
  }

  /** Whether the piece is a token without text of the open message: part of a character, say. */
  function addsOnlyLogprobs(event: DeltaEvent): boolean {
    const { logprobs, reasoning, refusal, toolCalls } = event;
    const isOther = reasoning !== undefined || refusal !== undefined || toolCalls !== undefined;
    if (isOther || logprobListOf(logprobs).length === 0) return false;
    return open.some((item) => item.kind === "message" && item.parts.includes("output_text"));
  }

  function addText(event: DeltaEvent, frames: ClientFrame[]): void {
    const item = messageOf(frames);
    const at = partOf(item, "output_text", frames);
    const delta = event.text ?? "";
    const logprobs = logprobListOf(event.logprobs);
    item.text += delta;
    for (const entry of logprobs) item.logprobs.push(entry);
    frames.push(frame("response.output_text.delta", { ...at, delta, logprobs }));
  }

  function addReasoning(text: string, frames: ClientFrame[]): void {
    closeOthers("reasoning", frames);
    let item = open.find((other) => other.kind === "reasoning");
    if (item === undefined) {
      const index = output.length;
      item = { kind: "reasoning", id: `rs_${itemIdStem}_${index}`, index, text: "" };
      add(item, frames);
    }
    item.text += text;
    frames.push(
      frame("response.reasoning_text.delta", { ...place(item), content_index: 0, delta: text }),
    );
  }

  function addToolCalls(event: DeltaEvent, frames: ClientFrame[]): void {
    for (const piece of event.toolCalls ?? []) {
      let item = open.find((other) => other.kind === "call" && other.toolIndex === piece.index);
      if (item === undefined) {
        closeOthers("call", frames);
        const index = output.length;
        item = {
          kind: "call",
          id: `fc_${itemIdStem}_${index}`,
          index,
          toolIndex: piece.index,
          callId: chooseToolCallId(piece, callIds, itemIdStem, event.choice),
          name: piece.name ?? "",
          arguments: "",
        };
        callIds.push({ id: item.callId });
        add(item, frames);
      } else if (item.kind === "call" && piece.name !== undefined) {
        item.name += piece.name;
      }
      if (item.kind === "call" && piece.arguments !== undefined && piece.arguments !== "") {
        item.arguments += piece.arguments;
        frames.push(
          frame("response.function_call_arguments.delta", {
            ...place(item),
            delta: piece.arguments,
          }),
        );
      }
    }
  }

  return {
    open: () => [
      frame("response.created", { response: response("in_progress") }),
      frame("response.in_progress", { response: response("in_progress") }),
    ],
    delta(event) {
      const frames: ClientFrame[] = [];
      if (event.reasoning !== undefined) addReasoning(event.reasoning, frames);
      if (event.text !== undefined || addsOnlyLogprobs(event)) addText(event, frames);
      if (event.refusal !== undefined) {
        const item = messageOf(frames);
        const at = partOf(item, "refusal", frames);
        item.refusal += event.refusal;
        frames.push(frame("response.refusal.delta", { ...at, delta: event.refusal }));
      }
      addToolCalls(event, frames);
      if (event.finishReason !== undefined) finishReason = event.finishReason;
      return frames;
    },
    finish(usage) {
      const frames: ClientFrame[] = [];
      const isIncomplete = isCutOff(finishReason);
      const status = isIncomplete ? "incomplete" : "completed";
      // An answer without any content is still one message, empty.
      if (output.length === 0) partOf(messageOf(frames), "output_text", frames);
      for (const item of [...open]) close(item, status, frames);
      const body = response(status, {
        usage: responsesUsage(usage),
        ...(isIncomplete
          ? {
              incomplete_details: {
                reason: finishReason === "length" ? "max_output_tokens" : "content_filter",
              },
            }
          : {}),
      });
      return {
        frames,
        terminal: [frame(`response.${status}`, { response: body })],
        body,
        items: output.flatMap((item) => (item === null ? [] : [itemRecord(item)])),
        status,
        finishReasons: [finishReason ?? ""],
      };
    },
    fail: (error) => [
      frame("response.failed", { response: response("failed", { error: responseError(error) }) }),
    ],
  };
}

/** OpenAI's `response.error` has a closed list of codes; ours goes in front of the message. */
export function responseError(error: ErrorOutcome): JsonObject {
  const code =
    error.code === "rate_limited" || error.code === "saturated"
      ? "rate_limit_exceeded"
      : "server_error";
  return { code, message: `${error.code}: ${error.message}` };
}
