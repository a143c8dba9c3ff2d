import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as z from "zod";
import { root } from "./source-files.ts";

const fixtures = join(root, "test/support/lint-fixtures");
const oxlint = join(root, "node_modules/oxlint/bin/oxlint");
const reportSchema = z.object({
  diagnostics: z.array(z.object({ filename: z.string(), code: z.string().optional() })),
});

/** A fixture: a file that stands where its rule applies, and names the rule in its first line. */
const cases = readdirSync(fixtures, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))
  .map((path) => ({
    path: relative(fixtures, path),
    rule: /^\/\/ refused by: (\S+)/.exec(readFileSync(path, "utf8"))?.[1] ?? "?",
  }));

let folder: string;
const found = new Map<string, string[]>();

beforeAll(() => {
  // Rules are chosen by path, so the fixtures are looked at in a project of their own with our configuration.
  folder = mkdtempSync(join(tmpdir(), "meridian-lint-"));
  cpSync(fixtures, folder, { recursive: true });
  cpSync(join(root, ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const compilerOptions = { target: "es2024", module: "esnext", strict: true, noEmit: true };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: { ...compilerOptions, allowImportingTsExtensions: true } }),
  );
  const result = spawnSync(
    process.execPath,
    // The folders by name: the linked node_modules is a folder like any other to oxlint.
    [oxlint, "--type-aware", "--format", "json", "shared", "edge", "regional", "test"],
    { cwd: folder, encoding: "utf8" },
  );
  const { diagnostics } = reportSchema.parse(JSON.parse(result.stdout));
  for (const { filename, code = "" } of diagnostics)
    found.set(filename, [...(found.get(filename) ?? []), code]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the lint configuration", () => {
  test.each(cases.filter(({ rule }) => rule !== "nothing"))("refuses $path by $rule", (fixture) => {
    expect(found.get(fixture.path)?.join(" ")).toContain(`(${fixture.rule})`);
  });

  test("lets a clean file pass", () => {
    const clean = cases.filter(({ rule }) => rule === "nothing");
    expect(clean.length).toBeGreaterThan(0);
    expect(clean.flatMap(({ path }) => found.get(path) ?? [])).toStrictEqual([]);
  });
});
