import { describe, expect, it } from "vitest";
import { createPlatforms } from "#regional/backends/platforms/create-platforms.ts";
import type { CellId, ShardId } from "#shared/residency/brands.ts";
import { aPool } from "#test/sim/scaler/region.ts";
import { aFile, topologyOf } from "#test/support/topology-builders.ts";

const shard = "eu-west-1a/llama-0" as ShardId;
const server = {
  app: "acme",
  server: "Llama",
  environment: null,
  concurrentRequestsMax: 64,
  tokenId: "ak-1",
  tokenSecret: "as-1",
};

const topology = topologyOf(aFile());
const cell = topology.cells.get("eu-west-1a" as CellId);

function platformsWith(servers: ReadonlyMap<ShardId, typeof server>) {
  if (cell === undefined) throw new Error("no cell");
  return createPlatforms({
    config: { cell, topology, modalServers: servers },
    supervisor: null,
    monotonicMs: () => 0,
  });
}

describe("what changes a pool", () => {
  it("is Modal's control plane where there is a token for it, and nothing where there is none", () => {
    const modal = aPool({ platform: "modal", shards: [shard] });
    expect(platformsWith(new Map([[shard, server]])).of(modal)).not.toBeNull();
    expect(platformsWith(new Map()).of(modal)).toBeNull();
    const other = aPool({ platform: "modal", shards: ["eu-west-1a/other" as ShardId] });
    expect(platformsWith(new Map([[shard, server]])).of(other)).toBeNull();
  });

  it("is nothing for engines that nobody starts, and for simulated ones without a supervisor", () => {
    const platforms = platformsWith(new Map([[shard, server]]));
    expect(platforms.of(aPool({ platform: "none", shards: [shard] }))).toBeNull();
    expect(platforms.of(aPool({ platform: "process", shards: [shard] }))).toBeNull();
    expect(platforms.of(aPool({ platform: "sagemaker", shards: [shard] }))).not.toBeNull();
  });
});
