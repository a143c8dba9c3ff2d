import { describe, expect, it } from "vitest";
import { changed, problemsOf } from "#test/support/topology-builders.ts";

const modal = {
  kind: "modal",
  url: "https://m.example.com/v1",
  key: "env:MODAL_KEY",
  secret: "env:MODAL_SECRET",
};

function withBackend(shard: string, backend: object) {
  return problemsOf(changed(["shards", shard, "backend"], backend));
}

describe("the region of a provider", () => {
  it("is one of the jurisdiction, for a SageMaker endpoint", () => {
    const sagemaker = { kind: "sagemaker", endpointName: "e" };
    const euShard = "eu-west-1a/llama-0";
    // The cell's neighbour is inside; the endpoint of another jurisdiction is not.
    expect(withBackend(euShard, { ...sagemaker, region: "eu-central-1" })).toStrictEqual([]);
    expect(withBackend(euShard, { ...sagemaker, region: "us-east-1" })).toStrictEqual([
      {
        path: "shards.eu-west-1a/llama-0.backend.region",
        got: '"us-east-1"',
        wanted: "a region of eu, where its prompts must stay",
      },
    ]);
    expect(withBackend("us-east-1a/llama-0", { ...sagemaker, region: "eu-west-1" })).toHaveLength(
      1,
    );
  });

  it.each(["eu", "eu-west", "eu-central-1"])("is %s for a Modal server of the EU", (region) => {
    expect(withBackend("eu-west-1a/llama-0", { ...modal, routingRegion: region })).toEqual([]);
  });

  it.each(["us", "us-east", "us-east-1", "europe", "EU", "auto"])(
    "is not %s for a Modal server of the EU",
    (region) => {
      expect(withBackend("eu-west-1a/llama-0", { ...modal, routingRegion: region })).toMatchObject([
        { path: "shards.eu-west-1a/llama-0.backend.routingRegion" },
      ]);
    },
  );

  it("must be said for a Modal server", () => {
    expect(withBackend("eu-west-1a/llama-0", modal).map(({ path }) => path)).toStrictEqual([
      "shards.eu-west-1a/llama-0.backend.routingRegion",
    ]);
  });
});
