import { describe, expect, it } from "vitest";
import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import type { DeltaEvent } from "#shared/protocol/engine-event.ts";
import {
  aRendering,
  calls,
  encode,
  ends,
  parseFrames,
  refuses,
  says,
  thinks,
} from "./answer-builders.ts";

const head = {
  id: "chatcmpl_1",
  object: "chat.completion.chunk",
  created: 1_700_000_000,
  model: "sim/llama",
};

/** The frames that one delta makes of a stream just opened. */
function dataOf(delta: DeltaEvent, includeUsage = false): readonly string[] {
  const encoder = createEncoder(aRendering({ includeUsage }), 2);
  encoder.open();
  return encoder.delta(delta).map(({ data }) => data);
}

function chunk(index: number, delta: object, logprobs: unknown = null, reason: unknown = null) {
  const choices = [{ index, delta, logprobs, finish_reason: reason }];
  return { ...head, choices };
}

function messageOf(deltas: readonly DeltaEvent[]): unknown {
  const { answer } = encode(aRendering(), [...deltas, ends()]);
  return (answer.body["choices"] as unknown as readonly { message: unknown }[])[0]?.message;
}

describe("the chat encoder", () => {
  const logprobs = { content: [{ token: "a", logprob: -1 }] };
  it.each([
    [
      "text",
      says('a "quoted" \\ \n\u0000é🙂', 1),
      chunk(1, { content: 'a "quoted" \\ \n\u0000é🙂' }),
    ],
    ["half a character", says("\uD83D"), chunk(0, { content: "\uD83D" })],
    ["reasoning", thinks("r"), chunk(0, { reasoning_content: "r" })],
    ["a refusal", refuses("no"), chunk(0, { refusal: "no" })],
    ["log probabilities", { ...says("a"), logprobs }, chunk(0, { content: "a" }, logprobs)],
    [
      "log probabilities of a token without text",
      { kind: "delta", choice: 0, logprobs },
      chunk(0, {}, logprobs),
    ],
    ["a finish reason", ends("length"), chunk(0, {}, null, "length")],
  ] satisfies readonly (readonly [string, DeltaEvent, object])[])(
    "writes %s as JSON.stringify would write the chunk",
    (_, delta, expected) => {
      expect(dataOf(delta)).toEqual([JSON.stringify(expected)]);
      expect(dataOf(delta, true)).toEqual([JSON.stringify({ ...expected, usage: null })]);
    },
  );

  it("keeps line separators out of the stream", () => {
    const [data = ""] = dataOf(says("\u2028\u2029\u0085"));
    expect(data).toContain(String.raw`\u2028\u2029\u0085`);
    expect(JSON.parse(data)).toEqual(chunk(0, { content: "\u2028\u2029\u0085" }));
  });

  it("begins with each choice's role and ends with usage and [DONE]", () => {
    const { frames } = encode(aRendering(), [ends(), ends("stop", 1)], 2);
    const role = { role: "assistant", content: "", refusal: null };
    expect(frames.slice(0, 2).map(({ data }) => JSON.parse(data) as unknown)).toEqual([
      { ...chunk(0, role), usage: null },
      { ...chunk(1, role), usage: null },
    ]);
    expect(parseFrames(frames).at(-1)).toEqual({
      ...head,
      choices: [],
      usage: {
        prompt_tokens: 7,
        completion_tokens: 5,
        total_tokens: 12,
        prompt_tokens_details: { cached_tokens: 2 },
        completion_tokens_details: { reasoning_tokens: 1 },
      },
    });
    expect(frames.at(-1)).toEqual({ event: null, data: "[DONE]" });
  });

  it("says nothing of usage to a client that did not ask", () => {
    const { frames } = encode(aRendering({ includeUsage: false }), [says("a"), ends()]);
    expect(frames.some(({ data }) => data.includes("usage"))).toBe(false);
  });

  it("says nothing of a choice that was not asked for", () => {
    expect(dataOf(says("a", 2))).toEqual([]);
  });

  describe("of tool calls", () => {
    it("names each call once, also when two of its pieces come together", () => {
      const [data = ""] = dataOf(
        calls({ index: 0, id: "t", name: "f" }, { index: 0, arguments: "{}" }),
      );
      expect(JSON.parse(data)).toEqual(
        chunk(0, {
          tool_calls: [
            { index: 0, id: "t", type: "function", function: { name: "f", arguments: "" } },
            { index: 0, function: { arguments: "{}" } },
          ],
        }),
      );
    });

    it("makes the id that an engine left out, or gave twice, from the turn", () => {
      const named = [
        calls({ index: 0, name: "f" }),
        calls({ index: 1, id: "t", name: "f" }),
        calls({ index: 2, id: "t", name: "f" }),
      ];
      expect(messageOf(named)).toMatchObject({
        tool_calls: [{ id: "call_stem0x0" }, { id: "t" }, { id: "call_stem0x2" }],
      });
    });

    it("joins pieces that interleave", () => {
      const pieces = [
        calls({ index: 0, id: "t0", name: "f", arguments: "{" }),
        calls({ index: 1, id: "t1", name: "g" }),
        says("text"),
        calls({ index: 0, arguments: "}" }, { index: 1, arguments: "[]" }),
      ];
      expect(messageOf(pieces)).toEqual({
        role: "assistant",
        content: "text",
        refusal: null,
        tool_calls: [
          { id: "t0", type: "function", function: { name: "f", arguments: "{}" } },
          { id: "t1", type: "function", function: { name: "g", arguments: "[]" } },
        ],
      });
    });
  });

  it.each([
    ["nothing", [], { content: "", refusal: null }],
    ["a refusal only", [refuses("no")], { content: null, refusal: "no" }],
    ["a tool call only", [calls({ index: 0, name: "f" })], { content: null, refusal: null }],
    ["text and a refusal", [says("a"), refuses("no")], { content: "a", refusal: "no" }],
    ["reasoning", [thinks("r"), says("a")], { content: "a", reasoning_content: "r" }],
  ])("answers %s whole", (_, deltas, expected) => {
    expect(messageOf(deltas)).toMatchObject(expected);
  });

  it.each([
    ["stop", "completed"],
    ["tool_calls", "completed"],
    ["length", "incomplete"],
    ["content_filter", "incomplete"],
  ])("calls an answer that ends by %s %s", (finishReason, status) => {
    const { answer } = encode(aRendering(), [says("a"), ends(finishReason)]);
    expect(answer).toMatchObject({ status, finishReasons: [finishReason] });
    expect(JSON.parse(answer.items[0]?.json ?? "")).toMatchObject({ id: "msg_stem_0", status });
  });

  it("ends a stream that failed with an error, and neither usage nor [DONE]", () => {
    const encoder = createEncoder(aRendering(), 1);
    encoder.open();
    const frames = encoder.fail({ code: "interrupted", message: "broken\u2028" });
    expect(frames).toHaveLength(1);
    expect(frames[0]?.data).not.toContain("\u2028");
    expect(parseFrames(frames)[0]).toMatchObject({ error: { message: "broken\u2028" } });
  });

  it("gives the same bytes for the same pieces, each time", () => {
    const deltas = [thinks("r"), says("a"), calls({ index: 0, name: "f" }), ends("tool_calls")];
    expect(encode(aRendering(), deltas)).toEqual(encode(aRendering(), deltas));
  });
});
