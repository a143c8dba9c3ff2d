import { describe, it } from "vitest";
import { parseCompletionsRequest } from "#shared/protocol/openai/completions-request.ts";
import type { JsonObject } from "#shared/protocol/json.ts";

function aCompletion(fields: JsonObject = {}): JsonObject {
  return { model: "sim/small", prompt: "Once", ...fields };
}

describe("a completions request that is refused", () => {
  it.for([
    ["no model", { prompt: "x" }, "model"],
    ["no prompt", { model: "m" }, "prompt"],
    ["prompt null", aCompletion({ prompt: null }), "prompt"],
    ["prompt an object", aCompletion({ prompt: {} }), "prompt"],
    ["prompt a boolean", aCompletion({ prompt: true }), "prompt"],
    ["no prompts", aCompletion({ prompt: [] }), "prompt"],
    ["prompts of two kinds", aCompletion({ prompt: ["a", 1] }), "prompt[1]"],
    ["token ids of two kinds", aCompletion({ prompt: [1, "a"] }), "prompt[1]"],
    ["a negative token id", aCompletion({ prompt: [1, -1] }), "prompt[1]"],
    ["a token id of -0", aCompletion({ prompt: [-0] }), "prompt[0]"],
    ["a broken token id", aCompletion({ prompt: [1.5] }), "prompt[0]"],
    ["a token id beyond 31 bits", aCompletion({ prompt: [2 ** 31] }), "prompt[0]"],
    ["an empty list of ids", aCompletion({ prompt: [[1], []] }), "prompt[1]"],
    ["a nested bad id", aCompletion({ prompt: [[1], [2, null]] }), "prompt[1][1]"],
    ["too many prompts", aCompletion({ prompt: Array.from({ length: 129 }, () => "x") }), "prompt"],
    [
      "too many choices in all",
      aCompletion({ prompt: Array.from({ length: 9 }, () => "x"), n: 16 }),
      "prompt",
    ],
    ["best_of beyond n", aCompletion({ best_of: 2 }), "best_of"],
    ["logprobs 6", aCompletion({ logprobs: 6 }), "logprobs"],
    ["logprobs a boolean", aCompletion({ logprobs: true }), "logprobs"],
    ["max_tokens below zero", aCompletion({ max_tokens: -1 }), "max_tokens"],
    ["echo a string", aCompletion({ echo: "yes" }), "echo"],
    ["stream_options without stream", aCompletion({ stream_options: {} }), "stream_options"],
  ] as const)("%s", ([, body, param], { expect }) => {
    expect(parseCompletionsRequest(body)).toMatchObject({
      ok: false,
      error: { code: "invalid_request", param },
    });
  });
});

describe("a completions request that is read", () => {
  it("keeps prompt and echo for the engine and counts its tokens", ({ expect }) => {
    expect(parseCompletionsRequest(aCompletion({ echo: true, max_tokens: 0, user: "u" }))).toEqual({
      ok: true,
      request: {
        model: "sim/small",
        stream: false,
        includeUsage: false,
        choices: 1,
        completionTokensMax: 1,
        isStored: false,
        metadata: {},
        promptCacheKey: null,
        userKey: "u",
        capabilities: ["completions"],
        engineBody: { prompt: "Once", echo: true, max_tokens: 0 },
        promptTokensEstimate: 1,
        affinityText: "Once",
        hasImages: false,
      },
    });
  });

  it("counts a choice per prompt and n", ({ expect }) => {
    const prompt = Array.from({ length: 8 }, () => [1, 2, 3]);
    expect(parseCompletionsRequest(aCompletion({ prompt, n: 16, best_of: 16 }))).toMatchObject({
      request: { choices: 128, promptTokensEstimate: 24, affinityText: "[1,2,3]" },
    });
  });
});
