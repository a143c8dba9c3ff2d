import { describe, expect, test } from "vitest";
import type { DevFile } from "#dev/supervisor/dev-file.ts";
import { describeReady, formatTable } from "#dev/supervisor/summary.ts";

const file: DevFile = {
  edge: { url: "http://127.0.0.1:8787", pid: 10, hostnames: { eu: "eu.localhost" } },
  keys: { eu: "mk_eu_acme_x", admin: "mk_admin_x" },
  cells: [{ id: "eu-1a", jurisdiction: "eu", region: "eu-1", url: "http://127.0.0.1:1", pid: 11 }],
  shards: [{ id: "eu-1a/m", cell: "eu-1a", model: "sim/m", url: "http://127.0.0.1:2/v1" }],
  databases: [{ region: "eu-1", url: "postgres://127.0.0.1:3/x", pid: 13 }],
  health: { url: "http://127.0.0.1:4", token: "secret-token", pid: 14 },
};

describe("what is shown when everything is ready", () => {
  test("is a table of every part, with a dash for what was not started", () => {
    const text = describeReady(file, "sim/m");
    expect(text).toMatch(/cell +eu-1a +eu-1 +http:\/\/127\.0\.0\.1:1 +11\n/);
    expect(text).toMatch(/shard +eu-1a\/m \(sim\/m\) +eu-1 +http:\/\/127\.0\.0\.1:2\/v1 +-\n/);
    expect(text).not.toContain("secret-token");
  });

  test("has commands with the first tenant's key, and none without a chat model", () => {
    expect(describeReady(file, "sim/m")).toContain("authorization: Bearer mk_eu_acme_x");
    expect(describeReady(file, null)).not.toContain("curl");
  });

  test("has columns as wide as their widest cell", () => {
    expect(
      formatTable([
        ["a", "b"],
        ["long", "c"],
      ]),
    ).toStrictEqual(["a     b", "long  c"]);
  });
});
