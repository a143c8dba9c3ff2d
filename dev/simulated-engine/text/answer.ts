/**
 * The answer to a prompt: a pure function of model, revision, prompt tokens, choice and `seed`. Neither the
 * process, nor time, nor how the request was split changes it.
 */
import { bitsAt, chainHash, hashText, mix32 } from "./hash.ts";
import { jsonForSchema } from "./schema-value.ts";
import {
  assistantTokenId,
  bytesOfToken,
  bytesOfTokens,
  decode,
  encode,
  incompleteTail,
  openAnswerLength,
  specialTokens,
} from "./tokenizer.ts";
import { vocabularyIndices } from "./vocabulary.ts";

/** What the answer has to be. */
export type AnswerForm =
  | { readonly kind: "text" }
  | { readonly kind: "json"; readonly schema: unknown }
  | { readonly kind: "calls"; readonly tools: readonly { name: string; parameters: unknown }[] };

export interface AnswerRequest {
  readonly model: string;
  readonly revision: string;
  /** The whole prompt; the run of assistant tokens at its end is the answer so far. */
  readonly promptIds: readonly number[];
  readonly form: AnswerForm;
  readonly seed: number | undefined;
  readonly choice: number;
  /** Fault `wrong`: anything but 0 gives another text. */
  readonly deviation: number;
  readonly ignoreEos: boolean;
  readonly tokensMin: number;
}

/** Where a tool call's tokens belong in the answer. */
export interface CallPiece {
  readonly callIndex: number;
  readonly callId: string;
  /** Set on the first piece of a call. */
  readonly name?: string;
  readonly argumentsText: string;
}

export interface Answer {
  /** Identifies prompt, choice and seed. */
  readonly hash: number;
  /** Position of the first token that is still to be produced. */
  readonly position: number;
  /** Position at which the answer ends by itself; Infinity with `ignore_eos`. */
  readonly end: number;
  /** Token at a position from `position` on. */
  tokenAt(index: number): number;
  /** Bytes that the client has of the token at `position`, because it cut inside it. */
  readonly bytesSkipped: number;
  /** Bytes of an unfinished character at the end of the answer so far. The client has not seen them. */
  readonly pendingBytes: Buffer;
  /** The call that a token belongs to; undefined for text. */
  callAt(index: number): CallPiece | undefined;
}

/** Natural lengths in tokens are uniform on [40, 200]. */
const naturalTokens = { min: 40, max: 200 } as const;
/** A prompt may ask for a length with `[[tokens:N]]`, at most this. */
const requestedTokensMax = 1_000_000;

/** The length that the last user message asks for with `[[tokens:N]]`, if any. */
function requestedTokens(promptIds: readonly number[]): number | undefined {
  const from = promptIds.lastIndexOf(specialTokens.user);
  const to = from < 0 ? -1 : promptIds.indexOf(specialTokens.end, from);
  const text = decode(promptIds.slice(Math.max(from, 0), to < 0 ? undefined : to));
  const found = [...text.matchAll(/\[\[tokens:(\d{1,7})\]\]/gu)].at(-1)?.[1];
  if (found === undefined) return undefined;
  return Math.min(Math.max(Number(found), 1), requestedTokensMax);
}

function textTokenAt(hash: number, index: number, end: number): number {
  const opening = vocabularyIndices.opening[index];
  if (opening !== undefined) return assistantTokenId(opening);
  if (index === end - 1) return assistantTokenId(vocabularyIndices.closing);
  // Emoji take an even position and the odd one after it, so that each position knows its half without a look back.
  const even = index - (index % 2);
  if (even >= vocabularyIndices.opening.length && even < end - 2 && bitsAt(hash, even) % 24 === 0) {
    const halves = vocabularyIndices.emojiSecondHalves;
    if (index === even) return assistantTokenId(vocabularyIndices.emojiFirstHalf);
    return assistantTokenId(halves[bitsAt(hash, index) % halves.length] ?? 0);
  }
  const bits = bitsAt(hash, index);
  const kind = bits % 64;
  const pool =
    kind < 5
      ? vocabularyIndices.punctuation
      : kind < 10
        ? vocabularyIndices.multiByteWords
        : vocabularyIndices.words;
  return assistantTokenId(pool[(bits >>> 6) % pool.length] ?? 0);
}

interface Script {
  readonly ids: readonly number[];
  readonly calls: readonly (CallPiece | undefined)[];
}

function scriptOf(form: AnswerForm, hash: number): Script | undefined {
  if (form.kind === "text") return undefined;
  if (form.kind === "json") {
    const ids = encode(jsonForSchema(form.schema, hash), "assistant");
    return { ids, calls: [] };
  }
  const ids: number[] = [];
  const calls: (CallPiece | undefined)[] = [];
  for (const [callIndex, tool] of form.tools.entries()) {
    const callHash = hashText(tool.name, hash + callIndex);
    const callId = `chatcmpl-tool-${callHash.toString(16).padStart(14, "0")}`;
    for (const [part, id] of encode(`<tool_call>${tool.name}`, "assistant").entries()) {
      ids.push(id);
      calls.push(
        part === 0 ? { callIndex, callId, name: tool.name, argumentsText: "" } : undefined,
      );
    }
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    for (const id of encode(jsonForSchema(tool.parameters, callHash), "assistant")) {
      ids.push(id);
      const argumentsText = decoder.decode(bytesOfToken(id), { stream: true });
      calls.push({ callIndex, callId, argumentsText });
    }
  }
  return { ids, calls };
}

/** Finds where an answer goes on after `prefix`; undefined when the prefix is not the beginning of this answer. */
function resumeAt(
  tokenAt: (index: number) => number,
  end: number,
  prefix: Buffer,
): { position: number; bytesSkipped: number } | undefined {
  let seen = 0;
  for (let index = 0; index < end; index += 1) {
    if (seen === prefix.length) return { position: index, bytesSkipped: 0 };
    const bytes = bytesOfToken(tokenAt(index));
    const shared = Math.min(bytes.length, prefix.length - seen);
    if (bytes.compare(prefix, seen, seen + shared, 0, shared) !== 0) return undefined;
    if (shared < bytes.length) return { position: index, bytesSkipped: shared };
    seen += shared;
  }
  return seen === prefix.length ? { position: end, bytesSkipped: 0 } : undefined;
}

/** Decides the answer. O(prompt) once, then O(1) per token. */
export function createAnswer(request: AnswerRequest): Answer {
  const open = openAnswerLength(request.promptIds);
  const closed = request.promptIds.length - open;
  let hash = chainHash(
    hashText(`${request.model}@${request.revision}`),
    request.promptIds,
    0,
    closed,
  );
  const variation = mix32(mix32(request.choice, request.seed ?? 0), request.deviation);
  const isVaried = request.choice !== 0 || request.seed !== undefined || request.deviation !== 0;
  if (isVaried) hash = chainHash(hash, [variation]);

  const script = scriptOf(request.form, hash);
  const span = naturalTokens.max - naturalTokens.min + 1;
  const natural =
    script?.ids.length ??
    requestedTokens(request.promptIds.slice(0, closed)) ??
    naturalTokens.min + (bitsAt(hash, -1) % span);
  const endFor = (position: number): number =>
    request.ignoreEos ? Infinity : Math.max(natural, position + request.tokensMin);
  const tokenFor = (end: number) => (index: number) =>
    script?.ids[index] ?? textTokenAt(hash, index, end);

  const prefixIds = request.promptIds.slice(closed);
  const prefix = bytesOfTokens(prefixIds);
  // A prefix that is this answer's beginning has as many tokens as its bytes; another one counts as it came.
  const end = endFor(open);
  const resumed = resumeAt(tokenFor(end), Math.max(end, open), prefix);
  const position = resumed?.position ?? open;
  // A prefix from elsewhere may be longer than the natural length: then the answer goes on for another span.
  const laps = resumed !== undefined || open < end ? 0 : Math.floor((open - end) / span) + 1;
  const finalEnd = end + laps * span;
  return {
    hash,
    position,
    end: finalEnd,
    tokenAt: tokenFor(finalEnd),
    bytesSkipped: resumed?.bytesSkipped ?? 0,
    pendingBytes: Buffer.from(prefix.subarray(prefix.length - incompleteTail(prefix))),
    callAt: (index) => script?.calls[index],
  };
}
