import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { aFile, changed, problemsOf, topologyOf } from "#test/support/topology-builders.ts";
import type { Path } from "#test/support/topology-builders.ts";
import type { Jurisdiction, RegionId, TenantId } from "#shared/residency/brands.ts";

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
