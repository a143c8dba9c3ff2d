import { parseTopology } from "#shared/config/topology.ts";
import type { Topology } from "#shared/config/topology.ts";

const shard = {
  model: "sim/llama",
  backend: { kind: "simulated" },
  capacity: { concurrentRequestsMax: 8, kvTokensMax: 1000 },
  purchase: "spot",
  pricePerHourMicroUsd: 0,
};

/** Tenants `acme` (eu) and `globex` (us) with the given keys, and the given identity providers. */
export function topologyWith(given: {
  readonly acme?: readonly string[];
  readonly globex?: readonly string[];
  readonly admin?: readonly string[];
  readonly identityProviders?: Readonly<Record<string, object>>;
}): Topology {
  const result = parseTopology({
    jurisdictions: {
      eu: { hostnames: ["eu.localhost"], objects: "eu", regions: ["eu-west-1"] },
      us: { hostnames: ["us.localhost"], objects: "us", regions: ["us-east-1"] },
    },
    regions: {
      "eu-west-1": { latitude: 0, longitude: 0, database: "embedded" },
      "us-east-1": { latitude: 0, longitude: 0, database: "embedded" },
    },
    cells: {
      "eu-west-1a": { region: "eu-west-1", zone: "a", url: "http://eu.test" },
      "us-east-1a": { region: "us-east-1", zone: "a", url: "http://us.test" },
    },
    models: { "sim/llama": { revision: "r1", contextTokensMax: 1000, capabilities: ["chat"] } },
    shards: {
      "eu-west-1a/llama-0": { ...shard, cell: "eu-west-1a" },
      "us-east-1a/llama-0": { ...shard, cell: "us-east-1a" },
    },
    tenants: {
      acme: { jurisdiction: "eu", priority: "interactive", keys: given.acme ?? [] },
      globex: { jurisdiction: "us", priority: "batch", keys: given.globex ?? [] },
    },
    identityProviders: given.identityProviders ?? {},
    admin: { keys: given.admin ?? [] },
  });
  if (!result.ok) throw new Error("the topology of this test is not valid");
  return result.topology;
}
