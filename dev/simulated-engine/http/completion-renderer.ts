import type { Logprob } from "./choice-output.ts";
import type { Renderer } from "./renderer.ts";

export interface CompletionRendererOptions {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  /** Prompt of each choice. */
  readonly prompts: readonly { readonly ids: readonly number[]; readonly text: string }[];
  readonly isEcho: boolean;
  readonly hasTokenIds: boolean;
  readonly hasLogprobs: boolean;
}

function logprobsOf(list: readonly Logprob[], textOffset: number): object {
  let offset = textOffset;
  return {
    tokens: list.map((one) => one.token),
    token_logprobs: list.map((one) => one.logprob),
    top_logprobs: list.map((one) =>
      Object.fromEntries(one.top_logprobs.map((other) => [other.token, other.logprob])),
    ),
    text_offset: list.map((one) => {
      const at = offset;
      offset += one.token.length;
      return at;
    }),
  };
}

/** Renders text completions as vLLM does: one chunk per token. */
export function createCompletionRenderer(options: CompletionRendererOptions): Renderer {
  const head = {
    id: options.id,
    object: "text_completion",
    created: options.created,
    model: options.model,
  };
  const choices = options.prompts.map((prompt) => ({
    prompt,
    text: "",
    ids: [] as number[],
    logprobs: [] as Logprob[],
    finish: null as string | null,
    stopReason: null as string | number | null,
    hasBegun: false,
  }));
  return {
    begin: () => [],
    piece(piece) {
      const choice = choices[piece.choice];
      if (choice === undefined) return [];
      const echo = options.isEcho && !choice.hasBegun ? choice.prompt.text : "";
      const promptIds =
        options.hasTokenIds && !choice.hasBegun ? { prompt_token_ids: choice.prompt.ids } : {};
      choice.hasBegun = true;
      const text = echo + piece.text;
      const offset = choice.text.length + echo.length;
      choice.text += text;
      choice.ids.push(...piece.tokenIds);
      choice.logprobs.push(...piece.logprobs);
      choice.finish = piece.finish?.reason ?? null;
      choice.stopReason = piece.finish?.stopReason ?? null;
      return [
        {
          ...head,
          choices: [
            {
              index: piece.choice,
              text,
              logprobs: options.hasLogprobs ? logprobsOf(piece.logprobs, offset) : null,
              finish_reason: choice.finish,
              stop_reason: choice.stopReason,
              ...promptIds,
              ...(options.hasTokenIds ? { token_ids: piece.tokenIds } : {}),
            },
          ],
        },
      ];
    },
    usageChunk: (usage) => ({ ...head, choices: [], usage }),
    body: (usage) => ({
      ...head,
      choices: choices.map((choice, index) => ({
        index,
        text: choice.text,
        logprobs: options.hasLogprobs
          ? logprobsOf(choice.logprobs, options.isEcho ? choice.prompt.text.length : 0)
          : null,
        finish_reason: choice.finish,
        stop_reason: choice.stopReason,
        ...(options.hasTokenIds
          ? { token_ids: choice.ids, prompt_token_ids: choice.prompt.ids }
          : {}),
      })),
      usage,
    }),
  };
}
