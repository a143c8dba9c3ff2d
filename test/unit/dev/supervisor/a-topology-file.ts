import type { TopologyFile } from "#dev/supervisor/topology-file.ts";

/** A small topology of two jurisdictions, with changes. */
export function aTopologyFile(changes: Partial<TopologyFile> = {}): TopologyFile {
  const shard = (cell: string): TopologyFile["shards"][string] => ({
    cell,
    model: "sim/m",
    backend: { kind: "simulated" },
    capacity: { concurrentRequestsMax: 4, kvTokensMax: 1_000 },
    purchase: "on-demand",
    pricePerHourMicroUsd: 1,
  });
  return {
    jurisdictions: {
      eu: { hostnames: ["eu.localhost"], objects: "eu", regions: ["eu-west-1"] },
      us: { hostnames: ["us.localhost"], objects: "us", regions: ["us-east-1"] },
    },
    regions: {
      "eu-west-1": { latitude: 53, longitude: -6, database: "embedded" },
      "us-east-1": { latitude: 38, longitude: -77, database: "env:US_DATABASE" },
    },
    cells: {
      "eu-west-1a": { region: "eu-west-1", zone: "a", url: "http://127.0.0.1:0" },
      "us-east-1a": { region: "us-east-1", zone: "a", url: "http://127.0.0.1:9001" },
    },
    models: { "sim/m": { revision: "r1", contextTokensMax: 1_000, capabilities: ["chat"] } },
    shards: { "eu-west-1a/m-0": shard("eu-west-1a"), "us-east-1a/m-0": shard("us-east-1a") },
    tenants: {
      acme: { jurisdiction: "eu", priority: "interactive", keys: ["env:ACME_KEY_SHA256"] },
      globex: { jurisdiction: "us", priority: "interactive", keys: ["env:GLOBEX_KEY_SHA256"] },
    },
    admin: { keys: ["env:ADMIN_KEY_SHA256"] },
    ...changes,
  };
}
