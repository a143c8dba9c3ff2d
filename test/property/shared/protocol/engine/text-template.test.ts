import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEngineStreamReader } from "#shared/protocol/engine-stream.ts";

/** What an engine writes around a text: with spaces or without, with the text last or in the middle, on either path. */
const surroundings = fc.constantFrom(
  [
    "chat/completions",
    '{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"',
    '"},"logprobs":null,"finish_reason":null}]}',
  ] as const,
  [
    "chat/completions",
    '{"choices": [{"delta": {"role": "assistant", "content": "',
    '", "tool_calls": null}, "index": 0}], "model": "m", "usage": null}',
  ] as const,
  [
    "completions",
    '{"id":"c","choices":[{"index":0,"text":"',
    '","logprobs":null,"finish_reason":null}]}',
  ] as const,
  // The words of the marker stand elsewhere too.
  [
    "chat/completions",
    '{"note":"\\"content\\":\\"","content":"word","choices":[{"index":0,"delta":{"content":"',
    '"}}],"text":"word"}',
  ] as const,
);
/** Any characters between the quotes: whole literals, broken ones, and such as end the literal and go on with other fields. */
const inside = fc.oneof(
  fc.string({ unit: "binary" }).map((text) => JSON.stringify(text).slice(1, -1)),
  fc.string(),
  fc.constantFrom(
    '","finish_reason":"stop","x":"',
    '"},"finish_reason":"stop","delta":{"content":"b',
    "\\u00e9\\n",
    "a\nb",
    "\\",
    '\\"',
    "",
  ),
);

describe("events that are like the one before", () => {
  it("mean what they mean when they are read alone", () => {
    fc.assert(
      fc.property(surroundings, inside, ([path, prefix, suffix], middle) => {
        const event = (text: string) => `data: ${prefix}${text}${suffix}\n\n`;
        const alone = createEngineStreamReader({ path, choices: 1, model: null });
        const behind = createEngineStreamReader({ path, choices: 1, model: null });
        for (const text of ["word", "words"]) {
          expect(behind.push(event(text))).toEqual([{ kind: "delta", choice: 0, text }]);
        }
        expect(behind.push(event(middle))).toEqual(alone.push(event(middle)));
      }),
      { numRuns: 500 },
    );
  });

  it("say nothing more of a choice that has ended", () => {
    const reader = createEngineStreamReader({
      path: "chat/completions",
      choices: 1,
      model: null,
    });
    const say = (text: string) => `data: {"choices":[{"delta":{"content":"${text}"}}]}\n\n`;
    reader.push(say("a") + say("b"));
    reader.push('data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n');
    expect(reader.push(say("c"))).toEqual([{ kind: "invalid", reason: "shape" }]);
  });
});
