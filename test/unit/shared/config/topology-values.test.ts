import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeProblems } from "#shared/config/topology.ts";
import { aFile, changed, problemsOf } from "#test/support/topology-builders.ts";
import type { Path } from "#test/support/topology-builders.ts";

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
    [["shards", "eu-west-1a/llama-0", "scaleToZeroSeconds"], 0],
    [["shards", "eu-west-1a/llama-0", "scaleToZeroSeconds"], 86_401],
    [["shards", "eu-west-1a/llama-0", "coldStartSeconds"], -1],
    [["shards", "eu-west-1a/llama-0", "backend", "whileCold"], "wait"],
    [["models", "sim/llama", "warmShardsMin"], 2],
    [["models", "sim/llama", "warmShardsMin", "urgent"], 1],
    [["models", "sim/llama", "warmShardsMin", "critical"], -1],
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
