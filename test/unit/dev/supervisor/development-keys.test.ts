import { describe, expect, test } from "vitest";
import { makeDevelopmentKeys } from "#dev/supervisor/development-keys.ts";
import { keyDigest } from "#dev/supervisor/secrets.ts";
import { parseApiKey } from "#shared/residency/api-key.ts";
import { parseTopology } from "#shared/config/topology.ts";
import { aTopologyFile } from "./a-topology-file.ts";

describe("keys for development", () => {
  test("are made for each jurisdiction and the administrator, in the form that the edge reads", () => {
    const made = makeDevelopmentKeys(aTopologyFile(), {}, {});
    expect(parseApiKey(made.keys["eu"] ?? "")).toStrictEqual({
      kind: "tenant",
      jurisdiction: "eu",
      tenant: "acme",
    });
    expect(parseApiKey(made.keys["us"] ?? "")).toMatchObject({ tenant: "globex" });
    expect(parseApiKey(made.adminKey)).toStrictEqual({ kind: "admin" });
    expect(made.digests).toStrictEqual({
      ACME_KEY_SHA256: keyDigest(made.keys["eu"] ?? ""),
      GLOBEX_KEY_SHA256: keyDigest(made.keys["us"] ?? ""),
      ADMIN_KEY_SHA256: keyDigest(made.adminKey),
    });
  });

  test("are the same when the kept ones are given", () => {
    const first = makeDevelopmentKeys(aTopologyFile(), {}, {});
    const second = makeDevelopmentKeys(aTopologyFile(), {}, first.kept);
    expect(second).toStrictEqual(first);
  });

  test("leave a given digest as it is, and come from a tenant of their own then", () => {
    const given = "a".repeat(64);
    const made = makeDevelopmentKeys(aTopologyFile(), { ACME_KEY_SHA256: given }, {});
    expect(made.digests["ACME_KEY_SHA256"]).toBe(given);
    const key = made.keys["eu"] ?? "";
    expect(parseApiKey(key)).toMatchObject({ tenant: "dev-eu" });
    expect(made.file.tenants["dev-eu"]?.keys).toStrictEqual([`sha256:${keyDigest(key)}`]);
    expect(parseTopology(made.file).ok).toBe(true);
  });

  test("include an administrator where the topology has none", () => {
    const { admin: _, ...file } = aTopologyFile();
    const made = makeDevelopmentKeys(file, {}, {});
    expect(made.file.admin?.keys).toStrictEqual([`sha256:${keyDigest(made.adminKey)}`]);
  });

  test("of a rotation differ, and the first one is given out", () => {
    const tenants = {
      acme: {
        jurisdiction: "eu",
        priority: "interactive" as const,
        keys: ["env:ACME_A", "env:ACME_B"],
      },
    };
    const made = makeDevelopmentKeys(aTopologyFile({ tenants }), {}, {});
    expect(made.digests["ACME_A"]).toBe(keyDigest(made.keys["eu"] ?? ""));
    expect(made.digests["ACME_B"]).not.toBe(made.digests["ACME_A"]);
  });

  test.each(["", undefined])("take an empty variable for a missing one: %j", (value) => {
    const made = makeDevelopmentKeys(aTopologyFile(), { ACME_KEY_SHA256: value }, {});
    expect(parseApiKey(made.keys["eu"] ?? "")).toMatchObject({ tenant: "acme" });
  });

  test("refuse a digest that is none, without repeating it", () => {
    const make = () =>
      makeDevelopmentKeys(aTopologyFile(), { ACME_KEY_SHA256: "mk_eu_secret" }, {});
    expect(make).toThrow("ACME_KEY_SHA256: got a text of 12 characters");
    expect(make).not.toThrow("mk_eu_secret");
  });
});
