import { errorBody } from "../../errors/gateway-error.ts";
import type { TurnEncoder } from "../encoder.ts";
import type { DeltaEvent } from "../engine-event.ts";
import type { ClientFrame } from "../internal/stream.ts";
import type { Rendering } from "../internal/turn-request.ts";
import type { JsonObject } from "../json.ts";
import type { Usage } from "../usage.ts";
import { answerItems, isCutOff } from "./answer-items.ts";
import { addContent, addToolCallPiece, emptyChoice, joinLogprobs } from "./answer-state.ts";
import type { ChoiceState } from "./answer-state.ts";
import { jsonText } from "./json-text.ts";

/** Usage in OpenAI's chat shape. */
export function chatUsage(usage: Usage): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
  };
}

/** The end marker of chat completions and completions. */
export const doneFrame: ClientFrame = { event: null, data: "[DONE]" };

function message(state: ChoiceState): JsonObject {
  const isOnlyTools = state.text === "" && state.toolCalls.length > 0;
  return {
    role: "assistant",
    content: isOnlyTools || (state.text === "" && state.refusal !== "") ? null : state.text,
    refusal: state.refusal === "" ? null : state.refusal,
    ...(state.reasoning === "" ? {} : { reasoning_content: state.reasoning }),
    ...(state.toolCalls.length === 0
      ? {}
      : {
          tool_calls: state.toolCalls.map((call) => ({
            id: call.id,
            type: "function",
            function: { name: call.name, arguments: call.arguments },
          })),
        }),
  };
}

/** Chat completions: `chat.completion.chunk` objects, or one `chat.completion`. */
export function createChatEncoder(rendering: Rendering, choiceCount: number): TurnEncoder {
  const { publicId, createdAtSeconds, model, includeUsage, itemIdStem } = rendering;
  const choices = Array.from({ length: choiceCount }, emptyChoice);
  // The hot path is string concatenation: everything around a delta is the same in every frame of the turn.
  const head = `{"id":${jsonText(publicId)},"object":"chat.completion.chunk","created":${createdAtSeconds},"model":${jsonText(model)},"choices":[`;
  const tail = includeUsage ? '],"usage":null}' : "]}";

  function frame(
    choice: number,
    delta: string,
    logprobs: string,
    finishReason: string | null,
  ): ClientFrame {
    const data = `${head}{"index":${choice},"delta":${delta},"logprobs":${logprobs},"finish_reason":${jsonText(finishReason)}}${tail}`;
    return { event: null, data };
  }

  /** Adds a piece to its choice and returns the chunk's `delta` as JSON. */
  function addDelta(state: ChoiceState, event: DeltaEvent): string {
    addContent(state, event);
    const fields: string[] = [];
    if (event.text !== undefined) fields.push(`"content":${jsonText(event.text)}`);
    if (event.reasoning !== undefined)
      fields.push(`"reasoning_content":${jsonText(event.reasoning)}`);
    if (event.refusal !== undefined) fields.push(`"refusal":${jsonText(event.refusal)}`);
    if (event.toolCalls !== undefined) {
      const calls = event.toolCalls.map((piece) => {
        const { call, isFirst } = addToolCallPiece(state, event.choice, piece, itemIdStem);
        const called = {
          ...(piece.name === undefined ? {} : { name: piece.name }),
          arguments: piece.arguments ?? "",
        };
        return isFirst
          ? { index: piece.index, id: call.id, type: "function", function: called }
          : { index: piece.index, function: called };
      });
      fields.push(`"tool_calls":${jsonText(calls)}`);
    }
    return `{${fields.join(",")}}`;
  }

  return {
    open: () =>
      choices.map((_, index) =>
        frame(index, '{"role":"assistant","content":"","refusal":null}', "null", null),
      ),
    delta(event) {
      const state = choices[event.choice];
      if (state === undefined) return [];
      const delta = addDelta(state, event);
      const frames: ClientFrame[] = [];
      const logprobs = event.logprobs === undefined ? "null" : jsonText(event.logprobs);
      if (delta !== "{}" || logprobs !== "null")
        frames.push(frame(event.choice, delta, logprobs, null));
      if (event.finishReason !== undefined)
        frames.push(frame(event.choice, "{}", "null", event.finishReason));
      return frames;
    },
    finish(usage) {
      const first = choices[0] ?? emptyChoice();
      const usageData = `${head}],"usage":${jsonText(chatUsage(usage))}}`;
      return {
        frames: includeUsage ? [{ event: null, data: usageData }] : [],
        terminal: [doneFrame],
        body: {
          id: publicId,
          object: "chat.completion",
          created: createdAtSeconds,
          model,
          choices: choices.map((state, index) => ({
            index,
            message: message(state),
            logprobs: joinLogprobs(state.logprobs),
            finish_reason: state.finishReason,
          })),
          usage: chatUsage(usage),
        },
        items: answerItems(first, itemIdStem),
        status: isCutOff(first.finishReason) ? "incomplete" : "completed",
        finishReasons: choices.map((state) => state.finishReason ?? ""),
      };
    },
    fail: (error) => [{ event: null, data: jsonText(errorBody(error)) }],
  };
}
