import { describe, expect, it } from "vitest";
import { readUsage } from "#shared/protocol/engine/read-usage.ts";

const counts = { prompt_tokens: 10, completion_tokens: 4 };

describe("an engine's usage", () => {
  it("is read with its details", () => {
    const details = {
      prompt_tokens_details: { cached_tokens: 10 },
      completion_tokens_details: { reasoning_tokens: 4 },
    };
    expect(readUsage({ ...counts, total_tokens: 14, ...details })).toEqual({
      promptTokens: 10,
      completionTokens: 4,
      cachedTokens: 10,
      reasoningTokens: 4,
    });
  });

  it.each([
    ["absent", {}],
    ["null", { prompt_tokens_details: null, completion_tokens_details: null }],
    ["empty", { prompt_tokens_details: {}, completion_tokens_details: {} }],
  ])("counts 0 for details that are %s", (_, details) => {
    expect(readUsage({ ...counts, ...details })).toMatchObject({
      cachedTokens: 0,
      reasoningTokens: 0,
    });
  });

  it("may have no completion tokens, as embeddings", () => {
    expect(readUsage({ prompt_tokens: 3 })?.completionTokens).toBe(0);
  });

  it.each([
    ["null", null],
    ["a list", []],
    ["without prompt tokens", { completion_tokens: 1 }],
    ["below zero", { ...counts, completion_tokens: -1 }],
    ["a fraction", { ...counts, prompt_tokens: 1.5 }],
    ["past what numbers count exactly", { ...counts, prompt_tokens: 2 ** 53 }],
    ["text", { ...counts, prompt_tokens: "10" }],
    ["more cached than prompt tokens", { ...counts, prompt_tokens_details: { cached_tokens: 11 } }],
    [
      "more reasoning than completion tokens",
      { ...counts, completion_tokens_details: { reasoning_tokens: 5 } },
    ],
    ["details that count nothing", { ...counts, prompt_tokens_details: { cached_tokens: "1" } }],
  ])("is refused when it is %s", (_, value) => {
    expect(readUsage(value)).toBeNull();
  });
});
