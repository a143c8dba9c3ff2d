import { createHash } from "node:crypto";
import { testKeys } from "./edge-keys.ts";

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

const shard = {
  backend: { kind: "simulated" },
  capacity: { concurrentRequestsMax: 8, kvTokensMax: 100_000 },
  purchase: "on-demand",
  pricePerHourMicroUsd: 1_000_000,
};

const place = { latitude: 0, longitude: 0, database: "embedded" };

/** Two jurisdictions, two cells in `eu`, one in `us`; the tenant `initech` has limits. */
export const testTopology = {
  jurisdictions: {
    eu: { hostnames: ["eu.localhost"], objects: "eu", regions: ["eu-west-1", "eu-central-1"] },
    us: { hostnames: ["us.localhost"], objects: "us", regions: ["us-east-1"] },
  },
  regions: { "eu-west-1": place, "eu-central-1": { ...place, longitude: 90 }, "us-east-1": place },
  cells: {
    "eu-west-1a": { region: "eu-west-1", zone: "a", url: "http://eu-west-1a.test" },
    "eu-central-1a": { region: "eu-central-1", zone: "a", url: "http://eu-central-1a.test" },
    "us-east-1a": { region: "us-east-1", zone: "a", url: "http://us-east-1a.test" },
  },
  models: {
    "sim/llama": {
      revision: "r1",
      contextTokensMax: 131_072,
      capabilities: ["chat", "completions", "tools", "json"],
      priceMicroUsdPerMillionTokens: { input: 100_000, output: 200_000 },
    },
    "sim/bge": {
      revision: "r1",
      contextTokensMax: 8192,
      capabilities: ["embeddings"],
      priceMicroUsdPerMillionTokens: { input: 10_000, output: 0 },
    },
  },
  shards: {
    "eu-west-1a/llama-0": { cell: "eu-west-1a", model: "sim/llama", ...shard },
    "eu-central-1a/llama-0": { cell: "eu-central-1a", model: "sim/llama", ...shard },
    "eu-west-1a/bge-0": { cell: "eu-west-1a", model: "sim/bge", ...shard },
    "us-east-1a/llama-0": { cell: "us-east-1a", model: "sim/llama", ...shard },
  },
  tenants: {
    acme: { jurisdiction: "eu", priority: "interactive", keys: ["env:ACME_KEY_SHA256"] },
    initech: {
      jurisdiction: "eu",
      priority: "standard",
      keys: [`sha256:${digest(testKeys.initech)}`],
      limits: { requestsPerMinute: 2, budgetMicroUsdPerDay: 1_000_000_000 },
    },
    globex: { jurisdiction: "us", priority: "interactive", keys: ["env:GLOBEX_KEY_SHA256"] },
  },
  admin: { keys: ["env:ADMIN_KEY_SHA256"] },
};

/** Every binding that the edge Worker needs, for tests. */
export const edgeBindings: Readonly<Record<string, string>> = {
  DO_JURISDICTION: "emulate",
  ENVIRONMENT: "development",
  LOG_LEVEL: "error",
  TOPOLOGY: JSON.stringify(testTopology),
  IDENTIFIER_KEY: "11".repeat(32),
  CELL_SIGNING_KEYS: JSON.stringify({ current: "k1", keys: { k1: "22".repeat(32) } }),
  RECEIPT_SIGNING_KEY: JSON.stringify({
    kty: "OKP",
    crv: "Ed25519",
    kid: "test-1",
    // RFC 8037, appendix A.1.
    d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  }),
  HEALTH_KV_URL: "http://kv.test",
  HEALTH_KV_TOKEN: "token",
  HEALTH_MAC_KEY: "33".repeat(32),
  ACME_KEY_SHA256: digest(testKeys.acme),
  GLOBEX_KEY_SHA256: digest(testKeys.globex),
  ADMIN_KEY_SHA256: digest(testKeys.admin),
};
