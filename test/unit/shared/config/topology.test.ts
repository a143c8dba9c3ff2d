import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeProblems, parseTopology } from "#shared/config/topology.ts";
import type { Topology, TopologyProblem } from "#shared/config/topology.ts";
import type { Jurisdiction, RegionId, TenantId } from "#shared/residency/brands.ts";

type Path = readonly (string | number)[];

/** A whole file, plain and mutable; every field that may be there is. */
function aFile(): Record<string, unknown> {
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
        priceMicroUsdPerMillionTokens: { input: 1, output: 2 },
      },
      "sim/bge": { revision: "r2", contextTokensMax: 8192, capabilities: ["embeddings"] },
    },
    shards: {
      "eu-west-1a/llama-0": {
        cell: "eu-west-1a",
        model: "sim/llama",
        backend: { kind: "simulated", speed: 2, coldStartMs: 0, profile: "h100" },
        ...more,
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
function changed(path: Path, value: unknown): Record<string, unknown> {
  const file = aFile();
  let target: unknown = file;
  for (const key of path.slice(0, -1)) target = (target as Record<string | number, unknown>)[key];
  const last = path.at(-1) ?? "";
  const holder = target as Record<string | number, unknown>;
  if (value === undefined) delete holder[last];
  else holder[last] = value;
  return file;
}

function problemsOf(file: unknown): readonly TopologyProblem[] {
  const result = parseTopology(file);
  return result.ok ? [] : result.problems;
}

function topologyOf(file: unknown): Topology {
  const result = parseTopology(file);
  if (!result.ok) throw new Error(describeProblems(result.problems));
  return result.topology;
}

const eu = "eu" as Jurisdiction;
const us = "us" as Jurisdiction;

describe("a valid file", () => {
  it("is taken, the smallest one included", () => {
    expect(problemsOf(aFile())).toEqual([]);
    const small = aFile();
    delete small["identityProviders"];
    delete small["admin"];
    const topology = topologyOf({ ...small, tenants: {}, shards: {} });
    expect([topology.adminKeys, topology.identityProviders, topology.tenants.size]).toEqual([
      [],
      [],
      0,
    ]);
  });

  it("lists under a jurisdiction what serves it, and nothing of another one", () => {
    const { jurisdictions } = topologyOf(aFile());
    const [europe, america] = [jurisdictions.get(eu), jurisdictions.get(us)];
    expect(europe?.cells.map(({ id }) => id)).toEqual(["eu-west-1a"]);
    expect(europe?.shards.map(({ id }) => id)).toEqual(["eu-west-1a/llama-0"]);
    expect([...(europe?.models.keys() ?? [])]).toEqual(["sim/llama"]);
    expect(america?.shards.map(({ id }) => id)).toEqual(["us-east-1a/llama-0", "us-east-1a/bge-0"]);
    expect([...(america?.models.keys() ?? [])]).toEqual(["sim/llama", "sim/bge"]);
  });

  it("gives cells and regions the jurisdiction that lists the region", () => {
    const topology = topologyOf(aFile());
    expect([...topology.cells.values()].map(({ id, jurisdiction }) => [id, jurisdiction])).toEqual([
      ["eu-west-1a", "eu"],
      ["us-east-1a", "us"],
    ]);
    expect(topology.regions.get("eu-central-1" as RegionId)).toEqual({
      id: "eu-central-1",
      jurisdiction: "eu",
      latitude: 50.11,
      longitude: 8.68,
      database: "env:EU_CENTRAL_DB",
    });
  });

  it("finds a jurisdiction by hostname, exactly", () => {
    const { jurisdictionByHostname } = topologyOf(aFile());
    expect(jurisdictionByHostname.get("us.example.com")).toBe("us");
    expect(jurisdictionByHostname.get("US.example.com")).toBeUndefined();
    expect(jurisdictionByHostname.get("constructor")).toBeUndefined();
  });

  it("gives a shard its model's revision and a tenant no limits that it does not name", () => {
    const topology = topologyOf(aFile());
    expect(topology.jurisdictions.get(us)?.shards.map(({ revision }) => revision)).toEqual([
      "r1",
      "r2",
    ]);
    expect(topology.tenants.get("globex" as TenantId)?.limits).toEqual({});
  });

  it("gives every cell and shard to exactly one jurisdiction, however regions are spread", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("eu", "us", "ch"), { minLength: 1, maxLength: 8 }),
        (owners) => {
          const names = ["eu", "us", "ch"] as const;
          const regions = owners.map((owner, index) => ({ owner, name: `r${index}` }));
          const named = names.filter((name) => owners.includes(name));
          const file = aFile();
          const [shard] = Object.values(file["shards"] as Record<string, object>);
          const topology = topologyOf({
            ...file,
            jurisdictions: Object.fromEntries(
              named.map((name) => [
                name,
                {
                  hostnames: [`${name}.example.com`],
                  objects: "unpinned",
                  regions: regions
                    .filter(({ owner }) => owner === name)
                    .map((region) => region.name),
                },
              ]),
            ),
            regions: Object.fromEntries(
              regions.map(({ name }) => [
                name,
                { latitude: 0, longitude: 0, database: "embedded" },
              ]),
            ),
            cells: Object.fromEntries(
              regions.map(({ name }) => [`${name}a`, { region: name, zone: "a", url: "http://c" }]),
            ),
            shards: Object.fromEntries(
              regions.map(({ name }) => [`${name}a/s`, { ...shard, cell: `${name}a` }]),
            ),
            tenants: {},
          });
          const all = [...topology.jurisdictions.values()];
          expect(all.flatMap(({ shards }) => shards)).toHaveLength(regions.length);
          for (const { id, cells, shards } of all) {
            expect(
              cells.every(({ region }) => regions[Number(region.slice(1))]?.owner === id),
            ).toBe(true);
            expect(shards.every(({ cell }) => cells.some((own) => own.id === cell))).toBe(true);
          }
        },
      ),
    );
  });
});

describe("references", () => {
  it.each<readonly [string, Path, unknown, string, string]>([
    [
      "a region that does not exist",
      ["jurisdictions", "eu", "regions", 1],
      "eu-north-1",
      "jurisdictions.eu.regions.1",
      "a region of this file",
    ],
    [
      "a region of two jurisdictions",
      ["jurisdictions", "us", "regions"],
      ["us-east-1", "eu-west-1"],
      "jurisdictions.us.regions.1",
      "a region that eu does not have already",
    ],
    [
      "a region listed twice",
      ["jurisdictions", "us", "regions"],
      ["us-east-1", "us-east-1"],
      "jurisdictions.us.regions.1",
      "a region that us does not have already",
    ],
    [
      "a region of no jurisdiction",
      ["jurisdictions", "eu", "regions"],
      ["eu-west-1"],
      "regions.eu-central-1",
      "a region that a jurisdiction lists",
    ],
    [
      "a hostname of two jurisdictions",
      ["jurisdictions", "us", "hostnames"],
      ["us.example.com", "eu.example.com"],
      "jurisdictions.us.hostnames.1",
      "a hostname that eu does not have already",
    ],
    [
      "a cell in a region that does not exist",
      ["cells", "eu-west-1a", "region"],
      "mars-1",
      "cells.eu-west-1a.region",
      "a region of this file",
    ],
    [
      "a shard of a cell that does not exist",
      ["shards", "eu-west-1a/llama-0", "cell"],
      "eu-west-1b",
      "shards.eu-west-1a/llama-0.cell",
      "a cell of this file",
    ],
    [
      "a shard under another cell's name",
      ["shards", "eu-west-1a/llama-0", "cell"],
      "us-east-1a",
      "shards.eu-west-1a/llama-0",
      "an id that begins with us-east-1a/",
    ],
    [
      "a shard of a model that does not exist",
      ["shards", "eu-west-1a/llama-0", "model"],
      "sim/other",
      "shards.eu-west-1a/llama-0.model",
      "a model of this file",
    ],
    [
      "a tenant of a jurisdiction that does not exist",
      ["tenants", "acme", "jurisdiction"],
      "ch",
      "tenants.acme.jurisdiction",
      "a jurisdiction of this file",
    ],
    [
      "a model without a price that a tenant with a budget may ask for",
      ["models", "sim/llama", "priceMicroUsdPerMillionTokens"],
      undefined,
      "models.sim/llama.priceMicroUsdPerMillionTokens",
      "a price, since a tenant has a budget",
    ],
    ["no jurisdiction", ["jurisdictions"], {}, "jurisdictions", "at least one"],
    ["no cell", ["cells"], {}, "cells", "at least one"],
    ["no model", ["models"], {}, "models", "at least one"],
  ])("refuse %s", (_name, path, value, at, wanted) => {
    expect(problemsOf(changed(path, value))).toContainEqual(
      expect.objectContaining({ path: at, wanted }),
    );
  });

  it.each([
    [["cells", "eu-west-1a", "region"], "cells.eu-west-1a.region"],
    [["tenants", "acme", "jurisdiction"], "tenants.acme.jurisdiction"],
    [["jurisdictions", "eu", "regions", 1], "jurisdictions.eu.regions.1"],
    [["shards", "eu-west-1a/llama-0", "cell"], "shards.eu-west-1a/llama-0.cell"],
    [["shards", "eu-west-1a/llama-0", "model"], "shards.eu-west-1a/llama-0.model"],
  ] as const)("are not found in what every object inherits: %j", (path, at) => {
    const wanted = expect.stringContaining("of this file");
    expect(problemsOf(changed(path, "constructor"))).toContainEqual(
      expect.objectContaining({ path: at, wanted }),
    );
  });

  it("ask no price of a model that only others serve or use", () => {
    expect(
      problemsOf(changed(["models", "sim/bge", "priceMicroUsdPerMillionTokens"], undefined)),
    ).toEqual([]);
    expect(
      problemsOf(changed(["tenants", "globex", "limits"], { budgetMicroUsdPerMonth: 1 })),
    ).toEqual([
      {
        path: "models.sim/bge.priceMicroUsdPerMillionTokens",
        got: "nothing",
        wanted: "a price, since a tenant has a budget",
      },
    ]);
  });

  it("are complained of all at once", () => {
    const file = changed(["cells", "eu-west-1a", "region"], "mars-1");
    (file["tenants"] as Record<string, { jurisdiction: string }>)["acme"] = {
      ...(file["tenants"] as Record<string, { jurisdiction: string }>)["acme"],
      jurisdiction: "ch",
    };
    expect(problemsOf(file).map(({ path }) => path)).toEqual([
      "cells.eu-west-1a.region",
      "tenants.acme.jurisdiction",
    ]);
  });
});

describe("unknown keys", () => {
  it.each<Path>([
    [],
    ["jurisdictions", "eu"],
    ["regions", "eu-west-1"],
    ["cells", "eu-west-1a"],
    ["models", "sim/llama"],
    ["models", "sim/llama", "priceMicroUsdPerMillionTokens"],
    ["shards", "eu-west-1a/llama-0"],
    ["shards", "eu-west-1a/llama-0", "backend"],
    ["shards", "us-east-1a/llama-0", "backend"],
    ["shards", "us-east-1a/bge-0", "backend"],
    ["shards", "eu-west-1a/llama-0", "capacity"],
    ["tenants", "acme"],
    ["tenants", "acme", "limits"],
    ["identityProviders", "login"],
    ["admin"],
  ])("are refused in %s.%s.%s", (...path) => {
    const inside = path.filter((key) => key !== undefined);
    expect(problemsOf(changed([...inside, "fallback"], true))).toEqual([
      {
        path: [...inside, "fallback"].join("."),
        got: "an unknown key",
        wanted: "only the keys named in docs/architecture.md",
      },
    ]);
  });

  it("are refused when they come as __proto__ in JSON", () => {
    const text = JSON.stringify(aFile()).replace('"zone":"a"', '"zone":"a","__proto__":{"x":1}');
    expect(problemsOf(JSON.parse(text))).toMatchObject([{ path: "cells.eu-west-1a.__proto__" }]);
  });
});

describe("missing keys", () => {
  it.each<Path>([
    ["jurisdictions"],
    ["regions"],
    ["cells"],
    ["models"],
    ["shards"],
    ["tenants"],
    ["jurisdictions", "eu", "hostnames"],
    ["jurisdictions", "eu", "objects"],
    ["jurisdictions", "eu", "regions"],
    ["regions", "eu-west-1", "database"],
    ["cells", "eu-west-1a", "url"],
    ["models", "sim/llama", "revision"],
    ["shards", "eu-west-1a/llama-0", "capacity", "kvTokensMax"],
    ["shards", "eu-west-1a/llama-0", "backend", "kind"],
    ["tenants", "acme", "jurisdiction"],
    ["tenants", "acme", "keys"],
    ["identityProviders", "login", "audience"],
    ["identityProviders", "login", "algorithms"],
  ])("are refused: %s.%s.%s.%s", (...given) => {
    const path = given.filter((key) => key !== undefined);
    const [problem] = problemsOf(changed(path, undefined));
    expect(problem).toMatchObject({ path: path.join("."), got: "nothing" });
  });
});

describe("values", () => {
  it.each<readonly [Path, unknown]>([
    [["jurisdictions", "eu", "objects"], "europe"],
    [["jurisdictions", "eu", "objects"], "default"],
    [["jurisdictions", "eu", "hostnames"], []],
    [["jurisdictions", "eu", "hostnames", 0], "EU.example.com"],
    [["jurisdictions", "eu", "hostnames", 0], "eu.example.com:443"],
    [["jurisdictions", "eu", "regions"], []],
    [["regions", "eu-west-1", "latitude"], 90.1],
    [["regions", "eu-west-1", "longitude"], "8"],
    [["regions", "eu-west-1", "latitude"], Number.NaN],
    [["regions", "eu-west-1", "database"], "postgres://user:password@host/db"],
    [["regions", "eu-west-1", "database"], "env:lower"],
    [["cells", "eu-west-1a", "url"], "http://127.0.0.1:0/path"],
    [["cells", "eu-west-1a", "url"], "ftp://127.0.0.1"],
    [["cells", "eu-west-1a", "url"], "//cell"],
    [["cells", "eu-west-1a", "zone"], "A"],
    [["models", "sim/llama", "contextTokensMax"], 0],
    [["models", "sim/llama", "contextTokensMax"], 1.5],
    [["models", "sim/llama", "capabilities"], []],
    [
      ["models", "sim/llama", "capabilities"],
      ["chat", "mind-reading"],
    ],
    [["models", "sim/llama", "revision"], ""],
    [["shards", "eu-west-1a/llama-0", "backend", "kind"], "bedrock"],
    [["shards", "us-east-1a/llama-0", "backend", "apiKey"], "sk-secret"],
    [["shards", "us-east-1a/llama-0", "backend", "url"], "file:///etc/passwd"],
    [["shards", "eu-west-1a/llama-0", "purchase"], "free"],
    [["shards", "eu-west-1a/llama-0", "pricePerHourMicroUsd"], -1],
    [["shards", "eu-west-1a/llama-0", "capacity", "concurrentRequestsMax"], 0],
    [["shards", "eu-west-1a/llama-0", "capacity", "concurrentRequestsMax"], 10_001],
    [["tenants", "acme", "priority"], "urgent"],
    [["tenants", "acme", "keys", 0], "mk_eu_acme_0123456789abcdefghij"],
    [["tenants", "acme", "keys", 0], `sha256:${"AB".repeat(32)}`],
    [["tenants", "acme", "keys", 0], `sha256:${"ab".repeat(31)}`],
    [["tenants", "acme", "limits", "requestsPerMinute"], 0],
    [["tenants", "acme", "limits", "budgetMicroUsdPerDay"], 0.5],
    [["identityProviders", "login", "algorithms"], ["HS256"]],
    [["identityProviders", "login", "algorithms"], ["none"]],
    [["identityProviders", "login", "algorithms"], []],
    [["identityProviders", "login", "jwksUrl"], "javascript:alert(1)"],
    [["admin", "keys", 0], "env:"],
  ])("are refused at %j: %j", (path, value) => {
    const [problem] = problemsOf(changed(path, value));
    expect(problem?.path.startsWith(path.join("."))).toBe(true);
    expect(problem?.wanted).not.toBe("");
  });

  it("allow two keys of a tenant, and not a third", () => {
    const keys = ["env:A", "env:B", "env:C"];
    expect(problemsOf(changed(["tenants", "acme", "keys"], keys.slice(0, 2)))).toEqual([]);
    expect(problemsOf(changed(["tenants", "acme", "keys"], keys))).toMatchObject([
      { path: "tenants.acme.keys", wanted: expect.stringContaining("at most two") },
    ]);
  });

  it.each(["Europe", "eu west", "1eu", "", "e".repeat(33), "eu;x", "eu_x", "é"])(
    "are refused as a name: %j",
    (name) => {
      for (const kind of ["jurisdictions", "regions", "cells", "tenants", "identityProviders"]) {
        const [entry] = Object.values(aFile()[kind] as object);
        expect(problemsOf(changed([kind, name], entry))).not.toEqual([]);
      }
    },
  );

  it.each([null, undefined, 5, "text", [], true])("are refused as a whole file: %j", (file) => {
    expect(problemsOf(file).length).toBeGreaterThan(0);
  });

  it("never make it throw", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          "jurisdictions",
          "regions",
          "cells",
          "models",
          "shards",
          "tenants",
          "admin",
        ),
        fc.jsonValue(),
        (kind, value) => {
          expect(Array.isArray(problemsOf({ ...aFile(), [kind]: value }))).toBe(true);
        },
      ),
    );
  });
});

describe("a complaint", () => {
  it("is one line with path, got and wanted", () => {
    const problems = problemsOf(changed(["cells", "eu-west-1a", "url"], "nowhere"));
    expect(describeProblems(problems)).toBe(
      'cells.eu-west-1a.url: got "nowhere", wanted an origin: scheme, host and port, no path',
    );
  });

  it("stands one under the other, and names the root", () => {
    const text = describeProblems(problemsOf({}));
    expect(text.split("\n")).toHaveLength(6);
    expect(describeProblems(problemsOf(5))).toMatch(/^\(root\): got 5, wanted /);
  });

  it("cuts a long value short", () => {
    const [problem] = problemsOf(changed(["cells", "eu-west-1a", "url"], "x".repeat(10_000)));
    expect(problem?.got).toHaveLength(80);
    expect(problem?.got.endsWith("...")).toBe(true);
  });
});
