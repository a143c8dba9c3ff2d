import { describe, expect, it } from "vitest";
import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import { aRendering, encode, ends, parseFrames, says } from "./answer-builders.ts";

const rendering = aRendering({ api: "completions", publicId: "cmpl_1" });
const head = {
  id: "cmpl_1",
  object: "text_completion",
  created: 1_700_000_000,
  model: "sim/llama",
};

describe("the completions encoder", () => {
  it("writes a piece as JSON.stringify would write the chunk", () => {
    const encoder = createEncoder(aRendering({ ...rendering, includeUsage: false }), 1);
    const choices = [{ text: 'a"\n', index: 0, logprobs: null, finish_reason: null }];
    expect(encoder.delta(says('a"\n'))).toEqual([
      { event: null, data: JSON.stringify({ ...head, choices }) },
    ]);
  });

  it("says the same whole and streamed, for each choice", () => {
    const logprobs = (token: string) => ({ tokens: [token], token_logprobs: [-1] });
    const deltas = [
      { ...says("a"), logprobs: logprobs("a") },
      says("x", 1),
      { ...says("b"), logprobs: logprobs("b"), finishReason: "stop" },
      ends("length", 1),
    ];
    const { frames, answer } = encode(rendering, deltas, 2);
    expect(answer.body).toMatchObject({
      ...head,
      choices: [
        {
          text: "ab",
          index: 0,
          logprobs: { tokens: ["a", "b"], token_logprobs: [-1, -1] },
          finish_reason: "stop",
        },
        { text: "x", index: 1, logprobs: null, finish_reason: "length" },
      ],
    });
    expect(answer).toMatchObject({ items: [], finishReasons: ["stop", "length"] });
    const reasons = parseFrames(frames).flatMap(
      ({ choices }) => choices as readonly { readonly finish_reason: string | null }[],
    );
    expect(reasons.map((choice) => choice.finish_reason)).toEqual([
      null,
      null,
      null,
      "stop",
      "length",
    ]);
    expect(frames.at(-1)?.data).toBe("[DONE]");
  });

  it("passes on log probabilities of a token without text", () => {
    const logprobs = { tokens: ["�"] };
    const frames = createEncoder(rendering, 1).delta({ kind: "delta", choice: 0, logprobs });
    expect(parseFrames(frames)[0]).toMatchObject({ choices: [{ text: "", logprobs }] });
  });

  it("ends a stream that failed with an error and no [DONE]", () => {
    const frames = createEncoder(rendering, 1).fail({ code: "interrupted", message: "broken" });
    expect(parseFrames(frames)).toMatchObject([{ error: { message: "broken" } }]);
    expect(frames).toHaveLength(1);
  });

  it("says nothing of a choice that was not asked for", () => {
    expect(createEncoder(rendering, 1).delta(says("a", 1))).toEqual([]);
  });
});
