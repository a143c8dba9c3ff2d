import { describe, expect, it } from "vitest";
import { aFile, problemsOf, topologyOf } from "#test/support/topology-builders.ts";

type Pool = Record<string, unknown>;

const pool: Pool = {
  model: "sim/llama",
  shards: ["eu-west-1a/llama-0", "eu-west-1a/llama-1"],
  replicasMin: 1,
  replicasMax: 2,
  coldStartSeconds: 20,
};

/** A file whose eu-west-1 has two simulated shards of a model, and these pools. */
function fileWith(pools: Record<string, Pool>, region = "eu-west-1"): Record<string, unknown> {
  const file = aFile();
  const shards = file["shards"] as Record<string, Record<string, unknown>>;
  shards["eu-west-1a/llama-1"] = { ...shards["eu-west-1a/llama-0"] };
  return { ...file, scaling: { [region]: { mode: "act", pools } } };
}

function problems(changes: Pool): readonly string[] {
  return problemsOf(fileWith({ llama: { ...pool, ...changes } })).map(
    ({ got, path, wanted }) =>
      `${path.replace("scaling.eu-west-1.pools.llama.", "")}: ${got}: ${wanted}`,
  );
}

describe("scaling in the topology", () => {
  it("is described with the defaults of what is left out", () => {
    const { scaling } = topologyOf(fileWith({ llama: { ...pool, coldStartSeconds: undefined } }));
    expect([...scaling]).toStrictEqual([
      [
        "eu-west-1",
        {
          mode: "act",
          forecastStepSeconds: 600,
          shrinkAfterSeconds: 600,
          pools: [
            {
              id: "llama",
              model: "sim/llama",
              platform: "process",
              shards: ["eu-west-1a/llama-0", "eu-west-1a/llama-1"],
              purchase: "on-demand",
              pricePerHourMicroUsd: 0,
              replicasPerInstance: 1,
              replicasMin: 1,
              replicasMax: 2,
              coldStartSeconds: 260,
              zones: ["a", "a"],
            },
          ],
        },
      ],
    ]);
  });

  it("waits as long as it says before anything goes, a minute at least", () => {
    const within = (shrinkAfterSeconds: number) => {
      const file = fileWith({ llama: pool });
      const scaling = (file["scaling"] as Record<string, object>)["eu-west-1"];
      return { ...file, scaling: { "eu-west-1": { ...scaling, shrinkAfterSeconds } } };
    };
    expect([...topologyOf(within(60)).scaling.values()]).toMatchObject([
      { shrinkAfterSeconds: 60 },
    ]);
    expect(problemsOf(within(59)).map(({ path }) => path)).toStrictEqual([
      "scaling.eu-west-1.shrinkAfterSeconds",
    ]);
  });

  it("refuses a Modal autoscaler that no pool would set", () => {
    const file = aFile();
    const shards = file["shards"] as Record<string, Record<string, unknown>>;
    const backend = {
      kind: "modal",
      url: "https://m.example.com/v1",
      routingRegion: "eu-west",
      key: "env:MODAL_KEY",
      secret: "env:MODAL_SECRET",
      autoscaler: { app: "acme", server: "Llama", tokenId: "env:ID", tokenSecret: "env:TOKEN" },
    };
    shards["eu-west-1a/llama-0"] = { ...shards["eu-west-1a/llama-0"], backend };
    expect(problemsOf(file).map(({ path }) => path)).toStrictEqual([
      "shards.eu-west-1a/llama-0.backend.autoscaler",
    ]);
    const one = { ...pool, shards: ["eu-west-1a/llama-0"], replicasMax: 9 };
    const scaling = { "eu-west-1": { mode: "act", pools: { llama: one } } };
    expect(problemsOf({ ...file, scaling })).toStrictEqual([]);
    const tokenless = { ...backend, autoscaler: { app: "acme", server: "Llama" } };
    shards["eu-west-1a/llama-0"] = { ...shards["eu-west-1a/llama-0"], backend: tokenless };
    expect(problemsOf({ ...file, scaling }).map(({ path }) => path)).toStrictEqual([
      "shards.eu-west-1a/llama-0.backend.autoscaler.tokenId",
      "shards.eu-west-1a/llama-0.backend.autoscaler.tokenSecret",
    ]);
  });

  it("is empty where the file has none", () => {
    expect(topologyOf(aFile()).scaling.size).toBe(0);
  });

  it("refuses a region, a model and a shard that do not exist", () => {
    expect(problemsOf(fileWith({}, "mars")).map(({ path }) => path)).toContain("scaling.mars");
    expect(problems({ model: "sim/none" })).toContain('model: "sim/none": a model of this file');
    expect(problems({ shards: ["eu-west-1a/none"], replicasMax: 1 })).toContain(
      'shards.0: "eu-west-1a/none": a shard of this file',
    );
  });

  it("refuses a shard of another region, and one of another model", () => {
    const found = problems({ shards: ["us-east-1a/bge-0"], replicasMax: 1 });
    expect(found).toContain('shards.0: "us-east-1a/bge-0": a shard of eu-west-1');
    expect(found).toContain('shards.0: "sim/bge": a shard of sim/llama');
  });

  it("refuses a shard that another pool has", () => {
    const found = problemsOf(fileWith({ one: pool, two: pool })).map(({ path }) => path);
    expect(found).toStrictEqual([
      "scaling.eu-west-1.pools.two.shards.0",
      "scaling.eu-west-1.pools.two.shards.1",
    ]);
  });

  it("refuses shards of two purchases in one pool", () => {
    const file = fileWith({ llama: pool });
    const shards = file["shards"] as Record<string, Record<string, unknown>>;
    shards["eu-west-1a/llama-1"] = { ...shards["eu-west-1a/llama-1"], purchase: "spot" };
    expect(problemsOf(file)).toStrictEqual([
      {
        path: "scaling.eu-west-1.pools.llama.shards.1",
        got: '"spot"',
        wanted: "the pool's purchase, on-demand",
      },
    ]);
  });

  it("refuses bounds that no number is within", () => {
    expect(problems({ replicasMin: 3, replicasMax: 2 })).toContain(
      "replicasMin: 3: at most replicasMax, 2",
    );
    expect(problems({ replicasMax: 0 })).toHaveLength(1);
    expect(problems({ replicasMax: 3 })).toStrictEqual(["replicasMax: 3: at most its shards, 2"]);
  });

  it("refuses zero where a start takes longer than anybody waits, and where nothing else stays warm", () => {
    expect(problems({ replicasMin: 0, coldStartSeconds: 75 })).toStrictEqual([
      "replicasMin: 0: at least 1, since a cold start takes 75 s or more",
    ]);
    expect(problems({ replicasMin: 0 })).toStrictEqual([
      "replicasMin: 0: at least 1, since no other shard of the model stays warm in the jurisdiction",
    ]);
  });

  it("allows zero beside a shard that stays warm", () => {
    expect(
      problems({ replicasMin: 0, shards: ["eu-west-1a/llama-1"], replicasMax: 1 }),
    ).toStrictEqual([]);
  });

  it("refuses a model on spot shards alone", () => {
    const file = fileWith({ llama: pool });
    const shards = file["shards"] as Record<string, Record<string, unknown>>;
    for (const id of ["eu-west-1a/llama-0", "eu-west-1a/llama-1"])
      shards[id] = { ...shards[id], purchase: "spot" };
    expect(problemsOf(file)).toStrictEqual([
      {
        path: "scaling.eu-west-1.pools",
        got: "spot shards of sim/llama alone",
        wanted: "reserved or on-demand shards beside them, for what may not wait",
      },
    ]);
  });

  it("refuses unknown keys and modes", () => {
    expect(problems({ replicas: 1 })).toHaveLength(1);
    const file = { ...fileWith({}), scaling: { "eu-west-1": { mode: "auto", pools: {} } } };
    expect(problemsOf(file).map(({ path }) => path)).toStrictEqual(["scaling.eu-west-1.mode"]);
  });

  it("refuses a SageMaker shard whose copies cannot be counted, and two of them in a pool", () => {
    const file = aFile();
    const shard = (file["shards"] as Record<string, Record<string, unknown>>)["us-east-1a/bge-0"];
    const shards = { ...(file["shards"] as object), "us-east-1a/bge-1": shard };
    const bge = { model: "sim/bge", shards: ["us-east-1a/bge-0", "us-east-1a/bge-1"] };
    const scaling = {
      "us-east-1": { mode: "act", pools: { bge: { ...bge, replicasMin: 1, replicasMax: 9 } } },
    };
    expect(problemsOf({ ...file, shards, scaling }).map(({ wanted }) => wanted)).toStrictEqual([
      "a shard with an inferenceComponent, whose copies can be counted",
      "a shard with an inferenceComponent, whose copies can be counted",
      "one shard, whose sagemaker replicas are counted",
    ]);
  });
});
