import { describe, it } from "vitest";
import { readConfig } from "#regional/config.ts";

const key = "ab".repeat(32);

function topology(
  backend: object = { kind: "simulated", url: "http://127.0.0.1:9/v1" },
  cellUrl = "http://127.0.0.1:0",
  database = "embedded",
) {
  return JSON.stringify({
    jurisdictions: { eu: { hostnames: ["eu.localhost"], objects: "eu", regions: ["r"] } },
    regions: { r: { latitude: 1, longitude: 1, database } },
    cells: {
      a: { region: "r", zone: "a", url: cellUrl },
      b: { region: "r", zone: "b", url: cellUrl },
    },
    models: { m: { revision: "1", contextTokensMax: 10, capabilities: ["chat"] } },
    shards: {
      "a/s": {
        cell: "a",
        model: "m",
        backend,
        capacity: { concurrentRequestsMax: 1, kvTokensMax: 1 },
        purchase: "spot",
        pricePerHourMicroUsd: 1,
      },
      "b/s": {
        cell: "b",
        model: "m",
        backend,
        capacity: { concurrentRequestsMax: 1, kvTokensMax: 1 },
        purchase: "spot",
        pricePerHourMicroUsd: 1,
      },
    },
    tenants: {},
  });
}

const environment = {
  MERIDIAN_TOPOLOGY: "t",
  MERIDIAN_CELL: "a",
  MERIDIAN_DATA_DIR: "d",
  CELL_SIGNING_KEYS: JSON.stringify({ current: "k", keys: { k: key } }),
  CACHE_SALT_KEY: key,
  PATH: "/bin",
};

function pathsOf(changes: Record<string, string | undefined>, file = topology()): string[] {
  const result = readConfig({ ...environment, ...changes }, () => `// a comment\n${file}`);
  return result.ok ? [] : result.problems.map(({ path }) => path);
}

describe("a cell's configuration", () => {
  it("holds the cell's own shards and nothing of another cell", ({ expect }) => {
    const result = readConfig(environment, () => topology());
    expect(result).toMatchObject({ ok: true, config: { cell: { id: "a" }, healthKv: null } });
    if (result.ok)
      expect(result.config.shards.map(({ description }) => description.id)).toEqual(["a/s"]);
  });

  it("tells all problems at once, and shows no secret", ({ expect }) => {
    const result = readConfig(
      { MERIDIAN_PORTS: "1", CACHE_SALT_KEY: "hunter2", LOG_LEVEL: "loud" },
      () => "",
    );
    const text = JSON.stringify(result);
    for (const name of [
      "MERIDIAN_PORTS",
      "MERIDIAN_TOPOLOGY",
      "MERIDIAN_CELL",
      "CACHE_SALT_KEY",
      "LOG_LEVEL",
    ]) {
      expect(text).toContain(name);
    }
    expect(text).not.toContain("hunter2");
  });

  const wrong: readonly (readonly [string, Record<string, string | undefined>])[] = [
    ["MERIDIAN_CELL", { MERIDIAN_CELL: "nowhere" }],
    ["MERIDIAN_PORT", { MERIDIAN_PORT: "65536" }],
    ["MERIDIAN_PORT", { MERIDIAN_PORT: "-1" }],
    ["CELL_SIGNING_KEYS", { CELL_SIGNING_KEYS: "{" }],
    [
      "CELL_SIGNING_KEYS",
      { CELL_SIGNING_KEYS: JSON.stringify({ current: "x", keys: { k: key } }) },
    ],
    [
      "CELL_SIGNING_KEYS.keys.k",
      { CELL_SIGNING_KEYS: JSON.stringify({ current: "k", keys: { k: "short" } }) },
    ],
    ["HEALTH_KV_TOKEN", { HEALTH_KV_URL: "http://127.0.0.1:1", HEALTH_MAC_KEY: key }],
    ["HEALTH_KV_URL", { HEALTH_KV_URL: "ftp://x", HEALTH_KV_TOKEN: "t", HEALTH_MAC_KEY: key }],
    ["MERIDIAN_SUPERVISOR_TOKEN", { MERIDIAN_SUPERVISOR_URL: "http://127.0.0.1:1" }],
    ["MERIDIAN_SUPERVISOR_URL", { MERIDIAN_SUPERVISOR_TOKEN: key }],
    [
      "MERIDIAN_SUPERVISOR_URL",
      { MERIDIAN_SUPERVISOR_URL: "http://10.0.0.1:1", MERIDIAN_SUPERVISOR_TOKEN: key },
    ],
    [
      "MERIDIAN_SUPERVISOR_TOKEN",
      { MERIDIAN_SUPERVISOR_URL: "http://127.0.0.1:1", MERIDIAN_SUPERVISOR_TOKEN: "short" },
    ],
  ];
  for (const [path, changes] of wrong) {
    it(`refuses ${JSON.stringify(changes)}`, ({ expect }) => {
      expect(pathsOf(changes)).toContain(path);
    });
  }

  it("refuses more than two signing keys", ({ expect }) => {
    const keys = { a: key, b: key, c: key };
    expect(pathsOf({ CELL_SIGNING_KEYS: JSON.stringify({ current: "a", keys }) })).toHaveLength(1);
  });

  it("lets a shard's name have private addresses only when the topology says so", ({ expect }) => {
    const plain = { kind: "openai-compatible", url: "http://gpu.internal/v1" };
    for (const [backend, allowed] of [
      [plain, false],
      [{ ...plain, allowPrivateAddresses: false }, false],
      [{ ...plain, allowPrivateAddresses: true }, true],
    ] as const) {
      const result = readConfig(environment, () => topology(backend));
      expect(result.ok && result.config.shards[0]?.place).toMatchObject({
        allowsPrivateAddresses: allowed,
      });
    }
  });

  it("refuses shards without a URL or key", ({ expect }) => {
    const modal = {
      kind: "modal",
      url: "https://m.example.com/v1",
      routingRegion: "r",
      key: "env:MODAL_KEY",
      secret: "env:MODAL_SECRET",
    };
    expect(pathsOf({ MODAL_KEY: "k" }, topology(modal))).toContain("shards.a/s.backend.secret");
    expect(pathsOf({}, topology({ kind: "simulated" }))).toEqual(["shards.a/s.backend.url"]);
    const keyed = { kind: "openai-compatible", url: "http://x/v1", apiKey: "env:SHARD_KEY" };
    expect(pathsOf({}, topology(keyed))).toEqual(["shards.a/s.backend.apiKey"]);
    expect(pathsOf({ SHARD_KEY: "s" }, topology(keyed))).toEqual([]);
  });

  it("wants the tokens of its region's Modal autoscalers, of other cells' shards too", ({
    expect,
  }) => {
    const backend = {
      kind: "modal",
      url: "https://m.example.com/v1",
      routingRegion: "r",
      key: "env:MODAL_KEY",
      secret: "env:MODAL_SECRET",
      autoscaler: {
        app: "acme",
        server: "Llama",
        tokenId: "env:MODAL_ID",
        tokenSecret: "env:MODAL_TOKEN",
      },
    };
    const file = JSON.parse(topology(backend)) as { shards: Record<string, object> };
    const pool = { model: "m", shards: ["b/s"], replicasMin: 1, replicasMax: 3 };
    const text = JSON.stringify({
      ...file,
      shards: { "b/s": { ...file.shards["b/s"], purchase: "on-demand" } },
      scaling: { r: { mode: "act", pools: { p: pool } } },
    });
    expect(pathsOf({}, text)).toEqual([
      "shards.b/s.backend.autoscaler.tokenId",
      "shards.b/s.backend.autoscaler.tokenSecret",
    ]);
    const read = readConfig({ ...environment, MODAL_ID: "ak-1", MODAL_TOKEN: "as-1" }, () => text);
    expect(read.ok ? [...read.config.modalServers] : read.problems).toEqual([
      [
        "b/s",
        {
          app: "acme",
          server: "Llama",
          environment: null,
          concurrentRequestsMax: 1,
          tokenId: "ak-1",
          tokenSecret: "as-1",
        },
      ],
    ]);
  });

  it("wants the variable of its database, and a port behind TLS", ({ expect }) => {
    expect(pathsOf({}, topology(undefined, undefined, "env:DB"))).toEqual(["regions.r.database"]);
    expect(pathsOf({}, topology(undefined, "https://cell.example"))).toEqual(["MERIDIAN_PORT"]);
    expect(pathsOf({ MERIDIAN_PORT: "8080" }, topology(undefined, "https://cell.example"))).toEqual(
      [],
    );
  });

  it("hands on what the topology states of an engine's abilities, and refuses what is none", ({
    expect,
  }) => {
    const of = (abilities: object) => {
      const backend = { kind: "openai-compatible", url: "http://127.0.0.1:1/v1", abilities };
      return readConfig(environment, () => topology(backend));
    };
    expect(of({ cacheSalt: true, metrics: "none" })).toMatchObject({
      config: { shards: [{ place: { stated: { cacheSalt: true, metrics: "none" } } }] },
    });
    for (const wrong of [{ thought: true }, { cacheSalt: 1 }, { metrics: "prometheus" }]) {
      expect(of(wrong)).toMatchObject({ ok: false });
    }
  });
});
