import { describe, expect, test } from "vitest";
import { engineBaseUrl, serveExternalEngine } from "#dev/supervisor/external-engine.ts";
import { parseTopology } from "#shared/config/topology.ts";
import { aTopologyFile } from "./a-topology-file.ts";

describe("a running server as the shards' engine", () => {
  test.each([
    ["http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"],
    ["http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"],
    ["http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"],
    ["http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"],
  ])("is reached at %s with and without /v1", (given, url) => {
    expect(engineBaseUrl(given)).toBe(url);
  });

  test("serves its models on every cell, instead of the topology's", () => {
    const served = serveExternalEngine(aTopologyFile(), {
      url: "http://127.0.0.1:11434/v1",
      models: [
        { id: "llama3.2:3b", contextTokensMax: 8_192 },
        { id: "nomic-embed-text", contextTokensMax: 2_048 },
      ],
    });
    expect(Object.keys(served.models)).toStrictEqual(["llama3.2:3b", "nomic-embed-text"]);
    expect(served.models["nomic-embed-text"]?.capabilities).toStrictEqual(["embeddings"]);
    expect(Object.keys(served.shards)).toStrictEqual([
      "eu-west-1a/engine-0",
      "eu-west-1a/engine-1",
      "us-east-1a/engine-0",
      "us-east-1a/engine-1",
    ]);
    expect(parseTopology(served).ok).toBe(true);
  });
});
