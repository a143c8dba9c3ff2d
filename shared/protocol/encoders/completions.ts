import { errorBody } from "../../errors/gateway-error.ts";
import type { TurnEncoder } from "../encoder.ts";
import type { ClientFrame } from "../internal/stream.ts";
import type { Rendering } from "../internal/turn-request.ts";
import { isCutOff } from "./answer-items.ts";
import { addContent, emptyChoice, joinLogprobs } from "./answer-state.ts";
import { chatUsage, doneFrame } from "./chat.ts";
import { jsonText } from "./json-text.ts";

/** Completions: `text_completion` objects, streamed or whole. */
export function createCompletionsEncoder(rendering: Rendering, choiceCount: number): TurnEncoder {
  const { publicId, createdAtSeconds, model, includeUsage } = rendering;
  const choices = Array.from({ length: choiceCount }, emptyChoice);
  const head = `{"id":${jsonText(publicId)},"object":"text_completion","created":${createdAtSeconds},"model":${jsonText(model)},"choices":[`;
  const tail = includeUsage ? '],"usage":null}' : "]}";

  return {
    open: () => [],
    delta(event) {
      const state = choices[event.choice];
      if (state === undefined) return [];
      addContent(state, event);
      const frames: ClientFrame[] = [];
      const logprobs = event.logprobs === undefined ? "null" : jsonText(event.logprobs);
      const frame = (text: string, logprobsText: string, finishReason: string | null): void => {
        const data = `${head}{"text":${jsonText(text)},"index":${event.choice},"logprobs":${logprobsText},"finish_reason":${jsonText(finishReason)}}${tail}`;
        frames.push({ event: null, data });
      };
      if (event.text !== undefined || logprobs !== "null") frame(event.text ?? "", logprobs, null);
      if (event.finishReason !== undefined) frame("", "null", event.finishReason);
      return frames;
    },
    finish(usage) {
      const usageData = `${head}],"usage":${jsonText(chatUsage(usage))}}`;
      return {
        frames: includeUsage ? [{ event: null, data: usageData }] : [],
        terminal: [doneFrame],
        body: {
          id: publicId,
          object: "text_completion",
          created: createdAtSeconds,
          model,
          choices: choices.map((state, index) => ({
            text: state.text,
            index,
            logprobs: joinLogprobs(state.logprobs),
            finish_reason: state.finishReason,
          })),
          usage: chatUsage(usage),
        },
        items: [],
        status: isCutOff(choices[0]?.finishReason ?? null) ? "incomplete" : "completed",
        finishReasons: choices.map((state) => state.finishReason ?? ""),
      };
    },
    fail: (error) => [{ event: null, data: jsonText(errorBody(error)) }],
  };
}
