import { describe, it } from "vitest";
import { parseEmbeddingsRequest } from "#shared/protocol/openai/embeddings-request.ts";
import type { JsonObject } from "#shared/protocol/json.ts";

function anEmbedding(fields: JsonObject = {}): JsonObject {
  return { model: "sim/embed", input: "text", ...fields };
}

describe("an embeddings request that is refused", () => {
  it.for([
    ["no input", { model: "m" }, "input"],
    ["input a number", anEmbedding({ input: 1 }), "input"],
    ["empty input", anEmbedding({ input: "" }), "input"],
    ["no inputs", anEmbedding({ input: [] }), "input"],
    ["an empty text among others", anEmbedding({ input: ["a", ""] }), "input[1]"],
    ["an input null", anEmbedding({ input: ["a", null] }), "input[1]"],
    ["2,049 inputs", anEmbedding({ input: Array.from({ length: 2049 }, () => "x") }), "input"],
    ["dimensions zero", anEmbedding({ dimensions: 0 }), "dimensions"],
    ["dimensions 1.5", anEmbedding({ dimensions: 1.5 }), "dimensions"],
    ["unknown encoding", anEmbedding({ encoding_format: "hex" }), "encoding_format"],
    ["streamed", anEmbedding({ stream: true }), "stream"],
  ] as const)("%s", ([, body, param], { expect }) => {
    expect(parseEmbeddingsRequest(body)).toMatchObject({
      ok: false,
      error: { code: "invalid_request", param },
    });
  });
});

describe("an embeddings request that is read", () => {
  it("passes encoding and dimensions and is never stored", ({ expect }) => {
    const input = Array.from({ length: 2048 }, () => "abcd");
    const body = anEmbedding({ input, encoding_format: "base64", dimensions: 256, store: true });
    expect(parseEmbeddingsRequest(body)).toMatchObject({
      ok: true,
      request: {
        isStored: false,
        capabilities: ["embeddings"],
        engineBody: { encoding_format: "base64", dimensions: 256 },
        promptTokensEstimate: 2048,
      },
    });
  });

  it("takes token ids", ({ expect }) => {
    expect(parseEmbeddingsRequest(anEmbedding({ input: [1, 2, 3] }))).toMatchObject({
      request: { promptTokensEstimate: 3, engineBody: { input: [1, 2, 3] } },
    });
  });
});
