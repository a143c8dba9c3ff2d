/** Text of one choice, token by token: whole characters only, cut at stop strings. */
import { bitsAt } from "../text/hash.ts";
import type { Answer, CallPiece } from "../text/answer.ts";
import { assistantTokenId, bytesOfToken } from "../text/tokenizer.ts";
import { vocabularyIndices } from "../text/vocabulary.ts";

interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

export interface Logprob extends TokenLogprob {
  readonly top_logprobs: readonly TokenLogprob[];
}

interface Finish {
  readonly reason: "stop" | "length";
  /** The stop string or token id that ended it. */
  readonly stopReason: string | number | null;
}

export interface OutputPiece {
  readonly choice: number;
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly logprobs: readonly Logprob[];
  readonly call: CallPiece | undefined;
  readonly finish: Finish | undefined;
}

export interface OutputOptions {
  readonly choice: number;
  readonly stops: readonly string[];
  readonly stopTokenIds: readonly number[];
  readonly isStopIncluded: boolean;
  /** Alternatives per token; undefined: no logprobs. */
  readonly topLogprobs: number | undefined;
  /** Tokens that will come; the last one carries the finish. */
  readonly tokens: number;
  readonly finishReason: Finish["reason"];
}

export interface ChoiceOutput {
  /** Takes the next token. After a piece with `finish` nothing may follow. */
  next(): OutputPiece;
  /** A piece without a token that only ends the choice: the answer was complete before. */
  finishOnly(): OutputPiece;
}

function logprobOf(answer: Answer, index: number, id: number, top: number): Logprob {
  const entry = (tokenId: number, logprob: number): TokenLogprob => {
    const bytes = bytesOfToken(tokenId);
    return { token: bytes.toString("utf8"), logprob, bytes: [...bytes] };
  };
  const own = -((bitsAt(answer.hash, index) % 5_000) + 1) / 10_000;
  const { words } = vocabularyIndices;
  const others = words.map(assistantTokenId).filter((other) => other !== id);
  const start = bitsAt(answer.hash, index + 0x10000) % others.length;
  const chosen = entry(id, own);
  const alternatives = Array.from({ length: Math.max(top - 1, 0) }, (_, at) =>
    entry(others[(start + at) % others.length] ?? id, own - 1 - at),
  );
  return { ...chosen, top_logprobs: top === 0 ? [] : [chosen, ...alternatives] };
}

/** Where a string may be cut so that no surrogate pair is torn. */
function safeCut(text: string, at: number): number {
  const before = text.charCodeAt(at - 1);
  return before >= 0xd800 && before <= 0xdbff ? at - 1 : at;
}

/** Makes the output of one choice. */
export function createChoiceOutput(answer: Answer, options: OutputOptions): ChoiceOutput {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  decoder.decode(answer.pendingBytes, { stream: true });
  const stops = options.stops.filter((stop) => stop !== "");
  const heldMax = Math.max(0, ...stops.map((stop) => stop.length - 1));
  let held = "";
  let produced = 0;

  function findStop(): { at: number; stop: string } | undefined {
    let first: { at: number; stop: string } | undefined;
    for (const stop of stops) {
      const at = held.indexOf(stop);
      if (at >= 0 && (first === undefined || at < first.at)) first = { at, stop };
    }
    return first;
  }
  function take(to: number): string {
    const text = held.slice(0, to);
    held = held.slice(to);
    return text;
  }
  const { choice } = options;
  return {
    next() {
      const index = answer.position + produced;
      const id = answer.tokenAt(index);
      const skipped = produced === 0 ? answer.bytesSkipped : 0;
      produced += 1;
      const call = answer.callAt(index);
      const tokenIds = [id];
      const logprobs =
        options.topLogprobs === undefined
          ? []
          : [logprobOf(answer, index, id, options.topLogprobs)];
      const isLast = produced >= options.tokens;
      if (options.stopTokenIds.includes(id))
        return {
          choice,
          text: take(held.length),
          tokenIds,
          logprobs,
          call: undefined,
          finish: { reason: "stop", stopReason: id },
        };
      // An unfinished character at the very end is dropped: there is no text for it.
      held += decoder.decode(bytesOfToken(id).subarray(skipped), { stream: true });
      const found = findStop();
      if (found !== undefined) {
        const text = take(found.at + (options.isStopIncluded ? found.stop.length : 0));
        return {
          choice,
          text,
          tokenIds,
          logprobs,
          call,
          finish: { reason: "stop", stopReason: found.stop },
        };
      }
      const text = take(isLast ? held.length : safeCut(held, Math.max(held.length - heldMax, 0)));
      const finish: Finish | undefined = isLast
        ? { reason: options.finishReason, stopReason: null }
        : undefined;
      return { choice, text, tokenIds, logprobs, call, finish };
    },
    finishOnly: () => ({
      choice,
      text: "",
      tokenIds: [],
      logprobs: [],
      call: undefined,
      finish: { reason: "stop", stopReason: null },
    }),
  };
}
