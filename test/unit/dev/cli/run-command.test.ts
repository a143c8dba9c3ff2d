import { describe, expect, test } from "vitest";
import { runCommand, usage } from "#dev/cli/run-command.ts";
import { parseApiKey } from "#shared/residency/api-key.ts";
import { keyDigest } from "#dev/supervisor/secrets.ts";

async function run(...args: readonly string[]) {
  const out: string[] = [];
  const error: string[] = [];
  const code = await runCommand(args, {
    readStandardInput: () => "",
    out: (line) => out.push(line),
    error: (line) => error.push(line),
    environment: {},
    folder: process.cwd(),
  });
  return { code, out, error };
}

describe("npm run meridian", () => {
  test.each([
    [[]],
    [["bogus"]],
    [["help", "me"]],
    [["topology"]],
    [["topology", "check", "a", "b"]],
    [["keys", "new"]],
    [["keys", "new", "--jurisdiction", "eu"]],
    [["keys", "new", "--jurisdiction", "EU", "--tenant", "acme"]],
    [["keys", "new", "--jurisdiction", "eu", "--jurisdiction", "eu"]],
    [["keys", "new", "--jurisdiction", "eu", "--tenant", "acme", "--admin"]],
    [["keys", "old", "--jurisdiction", "eu", "--tenant", "acme"]],
    [["status", "--state"]],
    [["status", "somewhere"]],
    [["receipts", "forge", "x"]],
  ])("answers %j with the usage and 2", async (args) => {
    const { code, out, error } = await run(...args);
    expect(code).toBe(2);
    expect(out).toStrictEqual([]);
    expect(error.join("\n")).toContain("meridian receipts verify");
  });

  test("helps", async () => {
    expect(await run("help")).toStrictEqual({ code: 0, out: [usage], error: [] });
  });

  test("makes a key and the digest that the topology wants", async () => {
    const { code, out } = await run("keys", "new", "--jurisdiction", "eu", "--tenant", "acme");
    const key = /(mk_\S+)/.exec(out[0] ?? "")?.[1] ?? "";
    expect(code).toBe(0);
    expect(parseApiKey(key)).toStrictEqual({ kind: "tenant", jurisdiction: "eu", tenant: "acme" });
    expect(out[1]).toContain(`"sha256:${keyDigest(key)}"`);
  });

  test("makes no key of a jurisdiction admin: it would be read as an administrator's", async () => {
    const { code, out, error } = await run(
      "keys",
      "new",
      "--jurisdiction",
      "admin",
      "--tenant",
      "a",
    );
    expect({ code, out }).toStrictEqual({ code: 2, out: [] });
    expect(error.join("\n")).toContain("--jurisdiction: got admin");
  });

  test("finds the project's own topology valid", async () => {
    const { code, out } = await run("topology", "check");
    expect(code).toBe(0);
    expect(out[0]).toContain("2 jurisdictions, 3 cells");
  });

  test.each([
    ["nowhere.jsonc", "cannot be read"],
    ["README.md", "is not JSON"],
    ["package.json", "jurisdictions"],
  ])("says what is wrong with %s as a topology", async (path, message) => {
    const { code, error } = await run("topology", "check", path);
    expect(code).toBe(1);
    expect(error.join("\n")).toContain(message);
  });

  test("says that nothing runs", async () => {
    const { code, error } = await run("status", "--state", "nowhere");
    expect(code).toBe(1);
    expect(error[0]).toContain("Nothing runs here");
  });
});
