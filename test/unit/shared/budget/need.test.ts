import { describe, expect, it } from "vitest";
import { needOf } from "#shared/budget/need.ts";
import type { RequestSize } from "#shared/budget/need.ts";
import type { ModelDescription } from "#shared/config/topology.ts";

const model: ModelDescription = {
  id: "sim/llama",
  revision: "r1",
  contextTokensMax: 10_000,
  capabilities: ["chat"],
  priceMicroUsdPerMillionTokens: { input: 1_000_000, output: 2_000_000 },
};

/** A request of 100 estimated tokens in 400 bytes, at a micro-dollar a token, two for the answer's. */
function aSize(overrides: Partial<RequestSize> = {}): RequestSize {
  return {
    api: "chat",
    choices: 1,
    promptTokensEstimate: 100,
    bodyBytes: 400,
    hasHiddenParts: false,
    completionTokensMax: 50,
    ...overrides,
  };
}

describe("the tokens that are reserved", () => {
  it("are the estimate and half of it again, and the answer's maximum for each choice", () => {
    expect(needOf(aSize(), model).tokens).toBe(150 + 50);
    expect(needOf(aSize({ choices: 3 }), model).tokens).toBe(150 + 150);
  });

  it("are never more for the prompt than its bytes and a template can have", () => {
    const size = aSize({ promptTokensEstimate: 1_000, bodyBytes: 100 });
    expect(needOf(size, model).tokens).toBe(612 + 50);
  });

  it("are 4,096 of an answer without a maximum, or what the context has left", () => {
    expect(needOf(aSize({ completionTokensMax: null }), model).tokens).toBe(150 + 4_096);
    const long = aSize({
      promptTokensEstimate: 8_000,
      bodyBytes: 32_000,
      completionTokensMax: null,
    });
    expect(needOf(long, model).tokens).toBe(10_000 + 2_000);
  });

  it("are the prompt's alone for embeddings", () => {
    expect(needOf(aSize({ api: "embeddings", completionTokensMax: null }), model).tokens).toBe(150);
  });
});

describe("the money that is reserved", () => {
  it("covers a prompt of as many tokens as bytes, and the answer's maximum", () => {
    expect(needOf(aSize(), model).costMicroUsd).toBe(400 + 512 + 2 * 50);
  });

  it("covers a whole context of answer where the client set no maximum", () => {
    expect(needOf(aSize({ completionTokensMax: null }), model).costMicroUsd).toBe(912 + 20_000);
  });

  it("covers a whole context of prompt where a history or an image hides its length", () => {
    expect(needOf(aSize({ hasHiddenParts: true }), model).costMicroUsd).toBe(10_000 + 100);
    expect(needOf(aSize({ bodyBytes: 1_000_000 }), model).costMicroUsd).toBe(10_000 + 100);
  });

  it("is not held to one context for a list of inputs", () => {
    const list = aSize({ api: "embeddings", bodyBytes: 50_000 });
    expect(needOf(list, model).costMicroUsd).toBe(50_512);
  });

  it("is nothing for a model without a price", () => {
    const { priceMicroUsdPerMillionTokens: _, ...free } = model;
    expect(needOf(aSize(), free).costMicroUsd).toBe(0);
  });
});
