import { describe, expect, it } from "vitest";
import { aFile, changed, problemsOf } from "#test/support/topology-builders.ts";
import type { Path } from "#test/support/topology-builders.ts";
import { describeProblems } from "#shared/config/topology.ts";

const digest =
  "wanted sha256: and 64 lower-case hex digits, or env:NAME of an environment variable";
const modal = { kind: "modal", url: "https://m.example.com", routingRegion: "eu" };

describe("a complaint about a credential in the wrong place", () => {
  it.each<[Path, unknown, string]>([
    [["tenants", "acme", "keys", 0], "mk_eu_acme_HUSHHUSHHUSHHUSH0000", "an API key itself"],
    [["tenants", "acme", "keys", 0], "c0ffee00".repeat(8), "64 hex digits alone"],
    [["tenants", "acme", "keys"], "mk_eu_acme_HUSHHUSHHUSHHUSH0000", "an API key itself"],
    [["tenants", "acme", "keys"], { HUSH: "HUSH" }, "an object"],
    [["tenants", "acme", "keys"], ["HUSH", "HUSH", "HUSH"], "a list of 3"],
    [["admin", "keys", 0], "HUSH", "a text of 4 characters"],
    [["admin", "keys", 0], "", "an empty text"],
    [["admin", "keys", 0], 481_516, "a number"],
    [["admin", "keys", 0], true, "a boolean"],
    [["shards", "us-east-1a/llama-0", "backend", "apiKey"], "sk-HUSH", "a text of 7 characters"],
    [
      ["shards", "eu-west-1a/llama-0", "backend"],
      { ...modal, key: "HUSH", secret: "env:B" },
      "a text of 4 characters",
    ],
    [
      ["shards", "eu-west-1a/llama-0", "backend"],
      { ...modal, key: "env:A", secret: "HUSH" },
      "a text of 4 characters",
    ],
    [["regions", "eu-west-1", "database"], "postgres://u:HUSH@db.example.com/x", "a URL"],
    [["cells", "eu-west-1a", "url"], "https://u:HUSH@cell.example.com/x", "a URL"],
    [["cells", "eu-west-1a", "zone"], "mk_eu_acme_HUSHHUSHHUSHHUSH0000", "an API key itself"],
    [["tenants", "acme"], "sk-HUSH", "a text of 7 characters"],
    [["tenants"], ["HUSH"], "a list of 1"],
  ])("at %j says what kind of value stands there, not which", (path, value, got) => {
    const problems = problemsOf(changed(path, value));
    expect(problems.map((problem) => problem.got)).toContain(got);
    const text = describeProblems(problems);
    expect(text).not.toMatch(/HUSH|c0ffee|481516/);
  });

  it("says what is wanted instead", () => {
    const problems = problemsOf(changed(["tenants", "acme", "keys", 0], "sha256:beef"));
    expect(describeProblems(problems)).toBe(
      `tenants.acme.keys.0: got a text of 11 characters, ${digest}`,
    );
    const database = problemsOf(changed(["regions", "eu-west-1", "database"], "env:lower"));
    expect(describeProblems(database)).toContain("wanted embedded, or env:NAME");
  });

  it("still repeats what is no credential", () => {
    const problems = problemsOf(changed(["cells", "eu-west-1a", "zone"], "Zone A"));
    expect(problems).toMatchObject([{ path: "cells.eu-west-1a.zone", got: '"Zone A"' }]);
  });
});

describe("a jurisdiction", () => {
  it("is never called admin, since keys of administrators begin so", () => {
    const file = aFile();
    const jurisdictions = file["jurisdictions"] as Record<string, unknown>;
    file["jurisdictions"] = {
      ...jurisdictions,
      admin: { hostnames: ["a.example.com"], objects: "unpinned", regions: ["r"] },
    };
    file["regions"] = {
      ...(file["regions"] as object),
      r: { latitude: 0, longitude: 0, database: "embedded" },
    };
    expect(problemsOf(file)).toMatchObject([{ path: "jurisdictions.admin", got: '"admin"' }]);
  });
});

describe("identity providers", () => {
  const login = (aFile()["identityProviders"] as Record<string, object>)["login"];

  it("have an issuer each: with one for two, an order would decide whose keys count", () => {
    const second = { ...login, audience: "other", jwksUrl: "https://other.example.com/keys" };
    expect(problemsOf(changed(["identityProviders", "second"], second))).toEqual([
      {
        path: "identityProviders.second.issuer",
        got: '"https://login.example.com/"',
        wanted: "an issuer that login does not have already",
      },
    ]);
    const other = { ...second, issuer: "https://login.example.com" };
    expect(problemsOf(changed(["identityProviders", "second"], other))).toEqual([]);
  });

  const path = ["identityProviders", "login", "jwksUrl"];
  it.each([
    "https://login.example.com",
    "https://login.example.com/a/keys?x=1",
    "http://localhost:9000/keys",
    "http://login.localhost/keys",
    "http://127.0.0.1:1",
    "http://[::1]:8080/keys",
  ])("have their keys at %s", (url) => {
    expect(problemsOf(changed(path, url))).toEqual([]);
  });

  it.each([
    "http://login.example.com/keys",
    "http://localhost.example.com/keys",
    "http://localhost@example.com/keys",
    "http://127.0.0.1.example.com/keys",
    "https://user:password@login.example.com/keys",
    "ftp://localhost/keys",
    "https://",
    "//login.example.com",
    "",
  ])("do not have them at %j", (url) => {
    expect(problemsOf(changed(path, url))).toMatchObject([{ path: path.join(".") }]);
  });
});
