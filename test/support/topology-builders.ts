import { describeProblems, parseTopology } from "#shared/config/topology.ts";
import type { Topology, TopologyProblem } from "#shared/config/topology.ts";

/** Where something stands in a topology file. */
export type Path = readonly (string | number)[];

/** A whole file, plain and mutable; every field that may be there is. */
export function aFile(): Record<string, unknown> {
  const capacity = { concurrentRequestsMax: 8, kvTokensMax: 100_000 };
  const more = { capacity, purchase: "on-demand", pricePerHourMicroUsd: 0 };
  const file = {
    jurisdictions: {
      eu: { hostnames: ["eu.example.com"], objects: "eu", regions: ["eu-west-1", "eu-central-1"] },
      us: { hostnames: ["us.example.com"], objects: "us", regions: ["us-east-1"] },
    },
    regions: {
      "eu-west-1": { latitude: 53.35, longitude: -6.26, database: "embedded" },
      "eu-central-1": { latitude: 50.11, longitude: 8.68, database: "env:EU_CENTRAL_DB" },
      "us-east-1": { latitude: 38.95, longitude: -77.45, database: "embedded" },
    },
    cells: {
      "eu-west-1a": { region: "eu-west-1", zone: "a", url: "http://127.0.0.1:0" },
      "us-east-1a": { region: "us-east-1", zone: "a", url: "https://cell.us.example.com" },
    },
    models: {
      "sim/llama": {
        revision: "r1",
        contextTokensMax: 131_072,
        capabilities: ["chat"],
        warmShardsMin: { critical: 2, interactive: 1, standard: 0, batch: 0 },
        priceMicroUsdPerMillionTokens: { input: 1, output: 2 },
      },
      "sim/bge": { revision: "r2", contextTokensMax: 8192, capabilities: ["embeddings"] },
    },
    shards: {
      "eu-west-1a/llama-0": {
        cell: "eu-west-1a",
        model: "sim/llama",
        backend: {
          kind: "simulated",
          speed: 2,
          coldStartMs: 0,
          whileCold: "refuse",
          profile: "h100",
        },
        ...more,
        scaleToZeroSeconds: 300,
        coldStartSeconds: 0.5,
      },
      "us-east-1a/llama-0": {
        cell: "us-east-1a",
        model: "sim/llama",
        backend: {
          kind: "openai-compatible",
          url: "https://vllm.example.com/v1",
          apiKey: "env:SHARD_KEY",
          engineModel: "meta/llama",
        },
        ...more,
      },
      "us-east-1a/bge-0": {
        cell: "us-east-1a",
        model: "sim/bge",
        backend: { kind: "sagemaker", endpointName: "bge", region: "us-east-1" },
        ...more,
      },
    },
    tenants: {
      acme: {
        jurisdiction: "eu",
        priority: "interactive",
        keys: ["env:ACME_KEY_SHA256", `sha256:${"ab".repeat(32)}`],
        limits: { requestsPerMinute: 10, budgetMicroUsdPerDay: 5 },
      },
      globex: { jurisdiction: "us", priority: "batch", keys: [] },
    },
    identityProviders: {
      login: {
        issuer: "https://login.example.com/",
        audience: "meridian",
        jwksUrl: "https://login.example.com/keys",
        algorithms: ["EdDSA"],
        tenantClaim: "org",
      },
    },
    admin: { keys: ["env:ADMIN_KEY_SHA256"] },
  };
  // Through JSON, so that no two places share an object.
  return JSON.parse(JSON.stringify(file)) as Record<string, unknown>;
}

/** The file with one place changed; `undefined` takes the key out. */
export function changed(path: Path, value: unknown): Record<string, unknown> {
  const file = aFile();
  let target: unknown = file;
  for (const key of path.slice(0, -1)) target = (target as Record<string | number, unknown>)[key];
  const last = path.at(-1) ?? "";
  const holder = target as Record<string | number, unknown>;
  if (value === undefined) delete holder[last];
  else holder[last] = value;
  return file;
}

/** Every problem of a file. */
export function problemsOf(file: unknown): readonly TopologyProblem[] {
  const result = parseTopology(file);
  return result.ok ? [] : result.problems;
}

/** The checked topology. @throws Error with all problems. */
export function topologyOf(file: unknown): Topology {
  const result = parseTopology(file);
  if (!result.ok) throw new Error(describeProblems(result.problems));
  return result.topology;
}
