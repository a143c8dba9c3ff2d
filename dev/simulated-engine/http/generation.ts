/** Runs the choices of one request on the model and yields their output in the order it is produced. */
import type { Driver } from "../driver.ts";
import { privateBlockKey, blockTokens } from "../model/block-cache.ts";
import { chainHash, hashText } from "../text/hash.ts";
import { createAnswer, type Answer, type AnswerForm } from "../text/answer.ts";
import { createChoiceOutput, type OutputPiece } from "./choice-output.ts";
import type { EngineMetrics } from "./metrics.ts";

export interface GenerationInput {
  readonly model: string;
  readonly revision: string;
  readonly prompts: readonly (readonly number[])[];
  /** Choices per prompt. */
  readonly n: number;
  readonly form: AnswerForm;
  readonly tokensMaxFor: (promptTokens: number) => number;
  readonly tokensMin: number;
  readonly ignoreEos: boolean;
  readonly seed: number | undefined;
  readonly deviation: number;
  readonly stops: readonly string[];
  readonly stopTokenIds: readonly number[];
  readonly isStopIncluded: boolean;
  readonly topLogprobs: number | undefined;
  readonly cacheSalt: string | undefined;
  readonly priority: number;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** A piece and the model time at which it came to be. */
export interface TimedPiece {
  readonly piece: OutputPiece;
  readonly modelMs: number;
}

export interface Generation {
  readonly startedAtMs: number;
  readonly answers: readonly Answer[];
  pieces(): AsyncGenerator<TimedPiece, void, void>;
  /** Stops everything and frees slots and blocks. Safe to call twice and after the end. */
  abort(): void;
  usage(): Usage;
}

/** Keys of a sequence's KV blocks: a chain over salt, prompt and answer. */
export function blockKeys(
  promptIds: readonly number[],
  salt: string | undefined,
  outputAt: (offset: number) => number,
): (index: number) => number {
  const keys: number[] = [];
  const root = hashText(`salt:${salt ?? ""}`);
  return (index) => {
    while (keys.length <= index) {
      const from = keys.length * blockTokens;
      const parent = keys.at(-1) ?? root;
      if (from + blockTokens <= promptIds.length) {
        keys.push(chainHash(parent, promptIds, from, from + blockTokens));
        continue;
      }
      const ids = Array.from({ length: blockTokens }, (_, at) => {
        const position = from + at;
        return promptIds[position] ?? outputAt(position - promptIds.length);
      });
      keys.push(chainHash(parent, ids));
    }
    return keys[index] ?? privateBlockKey;
  };
}

/** Submits every choice. @returns "too-large" when one can never fit into KV memory. */
export function startGeneration(
  driver: Driver,
  metrics: EngineMetrics,
  input: GenerationInput,
): Generation | "too-large" {
  const startedAtMs = driver.nowMs();
  const queue: TimedPiece[] = [];
  let wake: (() => void) | undefined;
  let open = 0;
  let isAborted = false;
  let completionTokens = 0;
  let promptTokens = 0;
  const cachedTokens: number[] = [];
  const live = new Set<number>();
  const answers: Answer[] = [];

  function notify(): void {
    wake?.();
    wake = undefined;
  }
  function startChoice(
    promptIds: readonly number[],
    promptIndex: number,
    choiceOfPrompt: number,
  ): boolean {
    const answer = createAnswer({ ...input, promptIds, choice: choiceOfPrompt });
    const left = Math.max(answer.end - answer.position, 0);
    const tokensMax = input.tokensMaxFor(promptIds.length);
    const tokens = Math.min(left, tokensMax);
    const output = createChoiceOutput(answer, {
      ...input,
      choice: promptIndex * input.n + choiceOfPrompt,
      tokens,
      finishReason: left <= tokensMax ? "stop" : "length",
    });
    let admittedAtMs = startedAtMs;
    let firstAtMs: number | undefined;
    let lastAtMs = startedAtMs;
    let isFinished = false;

    const id = driver.submit(
      {
        promptTokens: promptIds.length,
        outputTokens: Math.max(tokens, 1),
        priority: input.priority,
        keyOfBlock: blockKeys(promptIds, input.cacheSalt, (offset) =>
          answer.tokenAt(answer.position + offset),
        ),
      },
      {
        onAdmitted(admission, modelMs) {
          if (admission.isReadmission) return;
          admittedAtMs = modelMs;
          if (choiceOfPrompt === 0) cachedTokens[promptIndex] = admission.cachedTokens;
          metrics.observe("request_queue_time_seconds", (modelMs - startedAtMs) / 1_000);
        },
        onPreempted: () => {},
        onToken(modelMs) {
          if (isFinished) return;
          const piece = tokens === 0 ? output.finishOnly() : output.next();
          completionTokens += piece.tokenIds.length;
          metrics.countGenerated(piece.tokenIds.length);
          if (firstAtMs === undefined) {
            firstAtMs = modelMs;
            metrics.observe("time_to_first_token_seconds", (modelMs - startedAtMs) / 1_000);
            metrics.observe("request_prefill_time_seconds", (modelMs - admittedAtMs) / 1_000);
          } else metrics.observe("inter_token_latency_seconds", (modelMs - lastAtMs) / 1_000);
          lastAtMs = modelMs;
          queue.push({ piece, modelMs });
          if (piece.finish !== undefined) {
            isFinished = true;
            end(piece.finish.reason, modelMs);
          }
          notify();
        },
        onFinished: () => {},
      },
    );
    if (id === "too-large") return false;
    open += 1;
    live.add(id);
    answers.push(answer);
    function end(reason: "stop" | "length", modelMs: number): void {
      open -= 1;
      if (typeof id === "number") {
        live.delete(id);
        driver.release(id);
      }
      metrics.countFinished(reason);
      metrics.observe("e2e_request_latency_seconds", (modelMs - startedAtMs) / 1_000);
      metrics.observe("request_decode_time_seconds", (modelMs - (firstAtMs ?? modelMs)) / 1_000);
    }
    return true;
  }
  function abort(): void {
    if (isAborted) return;
    isAborted = true;
    for (const id of live) {
      driver.release(id);
      metrics.countFinished("abort");
    }
    live.clear();
    notify();
  }

  for (const [promptIndex, promptIds] of input.prompts.entries()) {
    promptTokens += promptIds.length;
    metrics.countPrompt(promptIds.length);
    for (let choice = 0; choice < input.n; choice += 1)
      if (!startChoice(promptIds, promptIndex, choice)) {
        abort();
        return "too-large";
      }
  }

  return {
    startedAtMs,
    answers,
    abort,
    async *pieces() {
      for (;;) {
        const next = queue.shift();
        if (isAborted) return;
        if (next !== undefined) {
          yield next;
          continue;
        }
        if (open === 0) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    usage: () => ({
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
      prompt_tokens_details: {
        cached_tokens: cachedTokens.reduce((sum, value) => sum + (value ?? 0), 0),
      },
    }),
  };
}
