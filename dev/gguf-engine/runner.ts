/** A loaded model and its sequences: a prompt waits for a free one, in order of arrival. */
import { availableParallelism } from "node:os";
import type { EngineCounters } from "../simulated-engine/model/batch-engine.ts";
import { createAnswerPieces } from "./answer-pieces.ts";
import type { AnswerPiece } from "./answer-pieces.ts";
import { loadLibrary } from "./llama-library.ts";
import type {
  ChatWrapper,
  EvaluateOptions,
  LlamaModel,
  LlamaSequence,
  Token,
} from "./llama-library.ts";

/** Tokens computed between two looks at whether the client is still there. */
const prefillTokens = 256;

/** One prompt. */
export interface RunnerRequest {
  readonly prompt: readonly Token[];
  readonly tokensMax: number;
  readonly stops: readonly string[];
  readonly cacheSalt: string;
  readonly sampling: Omit<EvaluateOptions, "yieldEogToken" | "repeatPenalty">;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
}

/** A step of an answer; the last one has a finish. */
export interface RunnerStep extends AnswerPiece {
  readonly finish: "stop" | "length" | null;
}

/** What a prompt found in its sequence's memory, told once before its steps. */
export interface RunnerStart {
  readonly cachedTokens: number;
}

export interface Runner {
  readonly model: LlamaModel;
  readonly wrapper: ChatWrapper;
  readonly contextTokensMax: number;
  /** Ends without a finish when `signal` is aborted, at the latest after the step that runs. */
  generate(
    request: RunnerRequest,
    signal: AbortSignal,
    onStart: (start: RunnerStart) => void,
  ): AsyncGenerator<RunnerStep, void, void>;
  counters(): EngineCounters;
}

export interface RunnerOptions {
  readonly path: string;
  readonly contextTokensMax: number;
  readonly sequences: number;
}

interface Slot {
  readonly sequence: LlamaSequence;
  /** Whose prompts its memory holds. */
  salt: string;
  isBusy: boolean;
}

/** Loads the file. One core is left free: with all of them in use the speed collapses. @throws Error when it cannot be loaded. */
export async function loadRunner(options: RunnerOptions): Promise<Runner> {
  const library = await loadLibrary();
  const threads = Math.max(1, availableParallelism() - 1);
  const llama = await library.getLlama({
    gpu: false,
    build: "never",
    maxThreads: threads,
    logLevel: "error",
  });
  const model = await llama.loadModel({ modelPath: options.path });
  const contextTokensMax = Math.min(options.contextTokensMax, model.trainContextSize);
  const { sequences } = options;
  const context = await model.createContext({ contextSize: contextTokensMax, sequences, threads });
  // Blanks at the beginning of an answer belong to it: without them it could not be continued.
  const jinjaTemplate = { trimLeadingWhitespaceInResponses: false };
  const wrapper = library.resolveChatWrapper(model, { customWrapperSettings: { jinjaTemplate } });
  const slots: readonly Slot[] = Array.from({ length: sequences }, () => ({
    sequence: context.getSequence(),
    salt: "",
    isBusy: false,
  }));
  const waiting: (() => void)[] = [];
  let prefixQueries = 0;
  let prefixHits = 0;

  function commonTokens({ salt, sequence }: Slot, request: RunnerRequest): number {
    if (salt !== request.cacheSalt) return 0;
    const { contextTokens } = sequence;
    const differs = request.prompt.findIndex((token, index) => contextTokens[index] !== token);
    return differs < 0 ? request.prompt.length : differs;
  }

  async function acquire(request: RunnerRequest, signal: AbortSignal): Promise<Slot | null> {
    while (!signal.aborted) {
      const [best] = slots
        .filter(({ isBusy }) => !isBusy)
        .map((slot) => ({ slot, common: commonTokens(slot, request) }))
        .toSorted((one, other) => other.common - one.common);
      if (best !== undefined) {
        best.slot.isBusy = true;
        return best.slot;
      }
      await untilFree(signal);
    }
    return null;
  }

  async function untilFree(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    waiting.push(wake);
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    signal.removeEventListener("abort", wake);
    const at = waiting.indexOf(wake);
    if (at >= 0) waiting.splice(at, 1);
  }

  function release(slot: Slot): void {
    slot.isBusy = false;
    // All of them look, the oldest first: one that is gone must not keep the others waiting.
    for (const wake of waiting) wake();
  }

  /** Computes all of the prompt but its last token; false when nobody waits any more. */
  async function prefill(slot: Slot, request: RunnerRequest, signal: AbortSignal) {
    const { sequence } = slot;
    const { prompt } = request;
    if (slot.salt !== request.cacheSalt) await sequence.clearHistory();
    slot.salt = request.cacheSalt;
    // The last token is always computed: the next one comes out of it.
    await sequence.adaptStateToTokens(prompt.slice(0, -1), false);
    const cachedTokens = sequence.nextTokenIndex;
    prefixQueries += prompt.length;
    prefixHits += cachedTokens;
    for (let from = cachedTokens; from < prompt.length - 1; from += prefillTokens) {
      if (signal.aborted) return { cachedTokens, isWanted: false };
      const part = prompt.slice(from, Math.min(from + prefillTokens, prompt.length - 1));
      await sequence.evaluateWithoutGeneratingNewTokens(part);
    }
    return { cachedTokens, isWanted: !signal.aborted };
  }

  async function* steps(
    sequence: LlamaSequence,
    request: RunnerRequest,
    signal: AbortSignal,
  ): AsyncGenerator<RunnerStep, void, void> {
    const { frequencyPenalty, presencePenalty, prompt, sampling, tokensMax } = request;
    const generated: Token[] = [];
    const pieces = createAnswerPieces(prompt, request.stops, (tokens, before) =>
      model.detokenize(tokens, false, before),
    );
    const isPunished = frequencyPenalty !== 0 || presencePenalty !== 0;
    const repeatPenalty = {
      punishTokens: () => generated,
      maxPunishTokens: contextTokensMax,
      penalty: 1,
      frequencyPenalty,
      presencePenalty,
    };
    const tokens = sequence.evaluate(prompt.slice(-1), {
      ...sampling,
      yieldEogToken: true,
      ...(isPunished ? { repeatPenalty } : {}),
    });
    for await (const token of tokens) {
      if (signal.aborted) return;
      if (model.isEogToken(token)) break;
      generated.push(token);
      const piece = pieces.push(token);
      if (piece !== null && piece.stop !== null) return yield { ...piece, finish: "stop" };
      if (generated.length >= tokensMax) {
        if (piece !== null) yield { ...piece, finish: null };
        return yield { ...pieces.flush(), finish: "length" };
      }
      if (piece !== null) yield { ...piece, finish: null };
    }
    if (!signal.aborted) yield { ...pieces.flush(), finish: "stop" };
  }

  return {
    model,
    wrapper,
    contextTokensMax,
    async *generate(request, signal, onStart) {
      const slot = await acquire(request, signal);
      if (slot === null) return;
      try {
        const { cachedTokens, isWanted } = await prefill(slot, request, signal);
        if (!isWanted) return;
        onStart({ cachedTokens });
        yield* steps(slot.sequence, request, signal);
      } finally {
        release(slot);
      }
    },
    counters() {
      const busy = slots.filter(({ isBusy }) => isBusy);
      const held = busy.reduce((sum, { sequence }) => sum + sequence.nextTokenIndex, 0);
      return {
        running: busy.length,
        waiting: waiting.length,
        kvUsage: held / (sequences * contextTokensMax),
        preemptions: 0,
        prefixQueries,
        prefixHits,
      };
    },
  };
}
