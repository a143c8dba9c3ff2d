import { describe, expect, test } from "vitest";
import { neededVariables } from "#dev/supervisor/deployment.ts";
import { edgeBindings } from "#dev/supervisor/edge-bindings.ts";
import {
  databaseVariable,
  regionsToStart,
  resolveTopology,
  shardsToStart,
} from "#dev/supervisor/resolve-topology.ts";
import { loadSecrets } from "#dev/supervisor/secrets.ts";
import { parseTopology } from "#shared/config/topology.ts";
import { aTopologyFile } from "./a-topology-file.ts";

describe("a topology with the addresses of what was started", () => {
  test("names engines, cells and databases, and stays valid", () => {
    const resolved = resolveTopology(aTopologyFile(), {
      engines: { "eu-west-1a/m-0": "http://127.0.0.1:5/v1" },
      cells: { "eu-west-1a": "http://127.0.0.1:6" },
    });
    expect(resolved.shards["eu-west-1a/m-0"]?.backend).toStrictEqual({
      kind: "simulated",
      url: "http://127.0.0.1:5/v1",
    });
    expect(resolved.cells["eu-west-1a"]?.url).toBe("http://127.0.0.1:6");
    expect(resolved.cells["us-east-1a"]?.url).toBe("http://127.0.0.1:9001");
    expect(resolved.regions["eu-west-1"]?.database).toBe("env:DATABASE_URL_EU_WEST_1");
    expect(resolved.regions["us-east-1"]?.database).toBe("env:US_DATABASE");
    expect(parseTopology(resolved).ok).toBe(true);
  });

  test("starts what has no address of its own, and nothing for a region without a cell", () => {
    const file = aTopologyFile();
    const shards = {
      ...file.shards,
      "us-east-1a/m-0": {
        ...file.shards["eu-west-1a/m-0"],
        cell: "us-east-1a",
        backend: { kind: "simulated", url: "http://127.0.0.1:7/v1" },
      },
    } as typeof file.shards;
    expect(shardsToStart({ ...file, shards })).toStrictEqual(["eu-west-1a/m-0"]);
    const idle = { latitude: 0, longitude: 0, database: "embedded" };
    const regions = { ...file.regions, "eu-idle-1": idle };
    expect(regionsToStart({ ...file, regions })).toStrictEqual(["eu-west-1"]);
    expect(databaseVariable("eu-west-1")).toBe("DATABASE_URL_EU_WEST_1");
  });

  test("tells which variables of the user each cell needs, and no other cell's", () => {
    const file = aTopologyFile();
    const backend = {
      kind: "openai-compatible",
      url: "http://x/v1",
      apiKey: "env:EU_KEY",
    } as const;
    const shard = file.shards["eu-west-1a/m-0"];
    const shards = { ...file.shards, ...(shard && { "eu-west-1a/m-0": { ...shard, backend } }) };
    expect(neededVariables({ ...file, shards }, "eu-west-1a")).toStrictEqual(["EU_KEY"]);
    expect(neededVariables({ ...file, shards }, "us-east-1a")).toStrictEqual(["US_DATABASE"]);
  });

  test("tells the tokens of Modal autoscalers that any cell of the region may set", () => {
    const file = aTopologyFile();
    const shard = file.shards["eu-west-1a/m-0"];
    const backend = {
      kind: "modal",
      url: "https://m.example.com/v1",
      routingRegion: "eu",
      key: "env:MODAL_KEY",
      secret: "env:MODAL_SECRET",
      autoscaler: { app: "a", server: "S", tokenId: "env:ID", tokenSecret: "env:SECRET" },
    } as const;
    const shards = { ...file.shards, ...(shard && { "eu-west-1b/m-0": { ...shard, backend } }) };
    const scaling = {
      "eu-west-1": {
        mode: "act",
        pools: { p: { model: "m", shards: ["eu-west-1b/m-0"], replicasMin: 1, replicasMax: 2 } },
      },
    } as const;
    const { shards: _, ...rest } = file;
    const scaled = { ...rest, shards, scaling } as unknown as typeof file;
    expect(neededVariables(scaled, "eu-west-1a")).toContain("SECRET");
    expect(neededVariables(scaled, "us-east-1a")).not.toContain("SECRET");
  });
});

describe("the edge's bindings", () => {
  const secrets = loadSecrets("/nowhere/secrets.json");
  const options = { secrets, healthUrl: "http://127.0.0.1:1", digests: {}, logLevel: "info" };

  test("keep a dollar and a quote of the topology from wrangler's expansion", () => {
    const models = {
      "sim/m": { revision: "$HOME's", contextTokensMax: 1, capabilities: ["chat" as const] },
    };
    const text = edgeBindings({ ...options, topology: aTopologyFile({ models }) });
    const line = text.split("\n").find((one) => one.startsWith("TOPOLOGY=")) ?? "";
    const value = line.slice("TOPOLOGY='".length, -1);
    expect(value).not.toMatch(/[$']/);
    expect(JSON.parse(value)).toMatchObject({ models });
  });

  test("emulate jurisdictions, and call it development only where every hostname is local", () => {
    const local = edgeBindings({ ...options, topology: aTopologyFile() });
    expect(local).toContain("DO_JURISDICTION='emulate'");
    expect(local).toContain("ENVIRONMENT='development'");
    const jurisdictions = {
      eu: { hostnames: ["eu.api.example.com"], objects: "eu" as const, regions: ["eu-west-1"] },
    };
    const foreign = edgeBindings({ ...options, topology: aTopologyFile({ jurisdictions }) });
    expect(foreign).toContain("ENVIRONMENT='production'");
  });
});
