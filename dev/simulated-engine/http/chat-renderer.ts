import type { Logprob, OutputPiece } from "./choice-output.ts";
import type { Renderer } from "./renderer.ts";

interface Call {
  readonly id: string;
  readonly name: string;
  arguments: string;
}

interface Choice {
  text: string;
  readonly ids: number[];
  readonly logprobs: Logprob[];
  readonly calls: Call[];
  finish: string | null;
  stopReason: string | number | null;
}

export interface ChatRendererOptions {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly choices: number;
  readonly promptIds: readonly number[];
  readonly hasTokenIds: boolean;
  readonly hasLogprobs: boolean;
  /** vLLM ends a named function with "stop", the other calls with "tool_calls". */
  readonly isNamedCall: boolean;
}

/** Renders chat completions as vLLM does: a role chunk per choice, then one chunk per token. */
export function createChatRenderer(options: ChatRendererOptions): Renderer {
  const head = {
    id: options.id,
    object: "chat.completion.chunk",
    created: options.created,
    model: options.model,
  };
  const choices = Array.from({ length: options.choices }, (): Choice => ({
    text: "",
    ids: [],
    logprobs: [],
    calls: [],
    finish: null,
    stopReason: null,
  }));

  function reasonOf(piece: OutputPiece, choice: Choice): string | null {
    if (piece.finish === undefined) return null;
    const isCall =
      choice.calls.length > 0 && piece.finish.reason === "stop" && !options.isNamedCall;
    return isCall ? "tool_calls" : piece.finish.reason;
  }
  /** The delta of a token of a call; undefined for marks that no client sees. */
  function callDelta(piece: OutputPiece, choice: Choice): object | undefined {
    const { call } = piece;
    if (call === undefined) return undefined;
    if (call.name !== undefined) {
      choice.calls.push({ id: call.callId, name: call.name, arguments: "" });
      const named = { name: call.name, arguments: "" };
      return {
        tool_calls: [{ index: call.callIndex, id: call.callId, type: "function", function: named }],
      };
    }
    const own = choice.calls[call.callIndex];
    if (own === undefined || call.argumentsText === "") return undefined;
    own.arguments += call.argumentsText;
    return { tool_calls: [{ index: call.callIndex, function: { arguments: call.argumentsText } }] };
  }

  return {
    begin: () =>
      choices.map((_, index) => ({
        ...head,
        choices: [
          { index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null },
        ],
        ...(options.hasTokenIds ? { prompt_token_ids: options.promptIds } : {}),
      })),
    piece(piece) {
      const choice = choices[piece.choice];
      if (choice === undefined) return [];
      choice.ids.push(...piece.tokenIds);
      choice.logprobs.push(...piece.logprobs);
      const isCallAnswer = piece.call !== undefined || choice.calls.length > 0;
      const delta = isCallAnswer ? callDelta(piece, choice) : { content: piece.text };
      if (!isCallAnswer) choice.text += piece.text;
      choice.finish = reasonOf(piece, choice);
      choice.stopReason = piece.finish?.stopReason ?? null;
      if (delta === undefined && choice.finish === null) return [];
      return [
        {
          ...head,
          choices: [
            {
              index: piece.choice,
              delta: delta ?? {},
              logprobs: options.hasLogprobs ? { content: piece.logprobs } : null,
              finish_reason: choice.finish,
              ...(choice.finish === null ? {} : { stop_reason: choice.stopReason }),
              ...(options.hasTokenIds ? { token_ids: piece.tokenIds } : {}),
            },
          ],
        },
      ];
    },
    usageChunk: (usage) => ({ ...head, choices: [], usage }),
    body: (usage) => ({
      ...head,
      object: "chat.completion",
      choices: choices.map((choice, index) => ({
        index,
        message: {
          role: "assistant",
          content: choice.calls.length > 0 ? null : choice.text,
          refusal: null,
          ...(choice.calls.length === 0
            ? {}
            : {
                tool_calls: choice.calls.map((call) => ({
                  id: call.id,
                  type: "function",
                  function: { name: call.name, arguments: call.arguments },
                })),
              }),
        },
        logprobs: options.hasLogprobs ? { content: choice.logprobs } : null,
        finish_reason: choice.finish,
        stop_reason: choice.stopReason,
        ...(options.hasTokenIds ? { token_ids: choice.ids } : {}),
      })),
      usage,
      ...(options.hasTokenIds ? { prompt_token_ids: options.promptIds } : {}),
    }),
  };
}
