/** Tokens of one answer as text: whole characters only, cut at stop strings. */
import type { Token } from "./llama-library.ts";

/** What one step adds to an answer. */
export interface AnswerPiece {
  readonly text: string;
  /** The tokens of the text; with a stop string, those that it was found in too. */
  readonly tokenIds: readonly Token[];
  /** The stop string that ended the answer. */
  readonly stop: string | null;
}

export interface AnswerPieces {
  /** Takes the next token; null while its text may be half a character or the beginning of a stop string. */
  push(token: Token): AnswerPiece | null;
  /** What is still held back. */
  flush(): AnswerPiece;
}

/** Tokens before a piece that its text depends on. */
const tailTokensMax = 8;
/** Bytes of a character (UTF-8), and so tokens that half a character can be spread over. */
const characterTokensMax = 4;
const replacement = "\uFFFD";

/** `detokenize` gives the text of tokens after others. */
export function createAnswerPieces(
  prompt: readonly Token[],
  stops: readonly string[],
  detokenize: (tokens: readonly Token[], before: readonly Token[]) => string,
): AnswerPieces {
  let before = prompt.slice(-tailTokensMax);
  let held: Token[] = [];

  function give(text: string, stop: string | null): AnswerPiece {
    const tokenIds = held;
    before = [...before, ...held].slice(-tailTokensMax);
    held = [];
    return { text, tokenIds, stop };
  }

  function stopIn(text: string): { readonly at: number; readonly stop: string } | null {
    const found = stops
      .map((stop) => ({ at: text.indexOf(stop), stop }))
      .filter(({ at, stop }) => at >= 0 && stop !== "");
    return found.toSorted((one, other) => one.at - other.at)[0] ?? null;
  }

  function mayStop(text: string): boolean {
    return stops.some((stop) => {
      for (let length = Math.min(stop.length - 1, text.length); length > 0; length -= 1) {
        if (text.endsWith(stop.slice(0, length))) return true;
      }
      return false;
    });
  }

  return {
    push(token) {
      held.push(token);
      const text = detokenize(held, before);
      const found = stopIn(text);
      if (found !== null) return give(text.slice(0, found.at), found.stop);
      if (text.endsWith(replacement) && held.length < characterTokensMax) return null;
      return mayStop(text) ? null : give(text, null);
    },
    flush: () => give(held.length === 0 ? "" : detokenize(held, before), null),
  };
}
