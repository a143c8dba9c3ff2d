import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEngineStreamReader } from "#shared/protocol/engine-stream.ts";
import type { DeltaEvent, EngineEvent } from "#shared/protocol/engine-event.ts";
import {
  aRendering,
  encode,
  streamText,
} from "#test/unit/shared/protocol/encoders/answer-builders.ts";
import { someDeltas } from "../encoders/answers.ts";

/** A delta as an engine writes it. */
function chunkOf(delta: DeltaEvent): string {
  const { choice, text, reasoning, refusal, toolCalls, logprobs, finishReason } = delta;
  const pieces = toolCalls?.map(({ index, id, name, arguments: text_ }) => ({
    index,
    id,
    function: { name, arguments: text_ },
  }));
  const message = { content: text, reasoning_content: reasoning, refusal, tool_calls: pieces };
  const choices = [
    { index: choice, delta: message, logprobs, finish_reason: finishReason ?? null },
  ];
  return JSON.stringify({ id: "c1", object: "chat.completion.chunk", model: "m", choices });
}

const end = fc.constantFrom("\n", "\r\n", "\r");
const cuts = fc.array(fc.nat(), { maxLength: 12 });

function cutAt<T extends { readonly length: number; slice(from: number, to?: number): T }>(
  whole: T,
  places: readonly number[],
): readonly T[] {
  const sorted = places.map((place) => place % (whole.length + 1)).toSorted((a, b) => a - b);
  return [0, ...sorted].map((from, index) => whole.slice(from, sorted[index] ?? whole.length));
}

function read(pieces: readonly string[]): readonly EngineEvent[] {
  const reader = createEngineStreamReader({ path: "chat/completions", choices: 2, model: null });
  return [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()];
}

describe("the engine stream reader", () => {
  it("reads what an engine said, whatever the cuts of its bytes, into one stream for the client", () => {
    fc.assert(
      fc.property(someDeltas(2), end, cuts, (deltas, eol, places) => {
        const lines = [...deltas.map(chunkOf), "[DONE]"].map((data) => `data: ${data}${eol}${eol}`);
        const bytes = new TextEncoder().encode(lines.join(""));
        const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
        const texts = cutAt(bytes, places).map((piece) => decoder.decode(piece, { stream: true }));
        const events = read(texts);
        expect(events).toEqual([...deltas, { kind: "done" }]);
        const seen = events.filter((event) => event.kind === "delta");
        expect(streamText(encode(aRendering(), seen, 2).frames)).toBe(
          streamText(encode(aRendering(), deltas, 2).frames),
        );
      }),
    );
  });

  it("never takes a part of a stream for a whole one", () => {
    fc.assert(
      fc.property(someDeltas(2), fc.nat(), (deltas, cut) => {
        const text = [...deltas.map(chunkOf), "[DONE]"].map((data) => `data: ${data}\n\n`).join("");
        const part = text.slice(0, cut % (text.length - 1));
        expect(read([part]).at(-1)?.kind).toBe("invalid");
      }),
    );
  });

  it("never takes a stream of which a finishing piece is lost for a whole one", () => {
    fc.assert(
      fc.property(someDeltas(2), fc.nat({ max: 1 }), (deltas, lost) => {
        const left = deltas.toSpliced(deltas.length - 1 - lost, 1);
        const text = [...left.map(chunkOf), "[DONE]"].map((data) => `data: ${data}\n\n`).join("");
        expect(read([text]).at(-1)).toEqual({ kind: "invalid", reason: "noFinishReason" });
      }),
    );
  });

  it("survives any text, ends every stream once, and says nothing after it refused", () => {
    const unit = fc.oneof(
      fc.string({ unit: "binary", maxLength: 2 }),
      fc.constantFrom(
        "data: ",
        "[DONE]",
        "\n\n",
        '{"choices":[',
        "]}",
        '{"index":0,"delta":{}',
        "event: error\n",
      ),
    );
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 30 }), (pieces) => {
        const kinds = read(pieces).map(({ kind }) => kind);
        const endings = kinds.filter((kind) => kind === "done" || kind === "invalid");
        expect(endings.length).toBeGreaterThanOrEqual(1);
        expect(kinds.indexOf("invalid")).toBeOneOf([-1, kinds.length - 1]);
      }),
      { numRuns: 500 },
    );
  });
});
