import { describe, expect, test } from "vitest";
import { filesBelow, importsOf } from "./source-files.ts";

/** Who may import whom: the table of the conventions. A file must obey every row that it matches. */
interface Rule {
  readonly title: string;
  readonly from: RegExp;
  /** Imports that are refused. */
  readonly refused: RegExp;
  /** Exceptions among the refused. */
  readonly allowed?: RegExp;
}

const runtimes = /^(edge|regional|dev|test)\//;
const builtIn = /^(node:|cloudflare:)/;
const packages = /^(?!(edge|regional|shared|dev|test|migrations|topology\.jsonc)(\/|$))/;

const rules: readonly Rule[] = [
  { title: "shared/ imports no runtime", from: /^shared\//, refused: runtimes },
  {
    title: "shared/ imports no package but zod, and drizzle's table builder in shared/db",
    from: /^shared\/(?!db\/)/,
    refused: packages,
    allowed: /^zod$/,
  },
  {
    title: "shared/db imports drizzle's table builder alone",
    from: /^shared\/db\//,
    refused: packages,
    allowed: /^drizzle-orm(\/pg-core)?$/,
  },
  {
    title: "decisions on numbers need no parser",
    from: /^shared\/(admission|breaker|routing|errors)\//,
    refused: /^zod$/,
  },
  {
    title: "the edge imports no cell, no database and no Node module",
    from: /^edge\//,
    refused:
      /^(regional|dev|test|shared\/db)\/|^(node:|drizzle-orm|postgres$|@aws-sdk\/|@electric-sql\/)/,
  },
  {
    title: "routes and middleware take what they need from deps",
    from: /^edge\/(app\.ts|routes\/|middleware\/)/,
    refused: /^edge\/(adapters|objects)\/|^cloudflare:/,
  },
  {
    title: "objects know no HTTP framework and no adapter",
    from: /^edge\/objects\//,
    refused: /^hono|^edge\/(adapters|routes|middleware)\//,
  },
  {
    title: "the edge's adapters know no route and no object",
    from: /^edge\/adapters\//,
    refused: /^edge\/(routes|middleware)\/|^hono/,
  },
  {
    title: "a cell imports nothing of the edge",
    from: /^regional\//,
    refused: /^(edge|dev|test)\/|^cloudflare:/,
  },
  {
    title: "a cell's core sees ports, not adapters, drivers or SDKs",
    from: /^regional\/(app\.ts|routes\/|scheduler\/|turns\/|prober\/|scaler\/)/,
    refused:
      /^regional\/(adapters|backends|history)\/|^(@aws-sdk\/|@upstash\/|drizzle-orm|postgres$|@electric-sql\/)/,
  },
  {
    title: "backends, adapters and history know no route and no scheduler",
    from: /^regional\/(backends|adapters|history)\//,
    refused: /^regional\/(routes|scheduler)\//,
  },
];

const files = ["shared", "edge", "regional"].flatMap((folder) => filesBelow(folder));

function offences(rule: Rule, path: string, imports: readonly string[]): readonly string[] {
  if (!rule.from.test(path)) return [];
  return imports
    .filter((name) => rule.refused.test(name) && rule.allowed?.test(name) !== true)
    .map((name) => `${path} imports ${name}`);
}

describe("who may import whom", () => {
  test.each(rules)("$title", (rule) => {
    const judged = files.filter(({ path }) => rule.from.test(path));
    expect(judged.length).toBeGreaterThan(0);
    const found = judged.flatMap((file) => offences(rule, file.path, importsOf(file)));
    expect(found).toStrictEqual([]);
  });

  test("every import of our own sources is understood, built-in modules included", () => {
    const names = files.flatMap(importsOf);
    expect(names.length).toBeGreaterThan(500);
    expect(names.filter((name) => builtIn.test(name)).length).toBeGreaterThan(5);
    expect(names.filter((name) => name.startsWith("shared/")).length).toBeGreaterThan(200);
  });

  test("an offence is found in each form of import", () => {
    const text = [
      'import { a } from "#edge/app.ts";',
      'import type { B } from "../../edge/b.ts";',
      'export { c } from "#regional/c.ts";',
      'import {\n  d,\n} from "#dev/d.ts";',
      'const e = await import("#test/e.ts");',
      'import "#edge/f.ts";',
    ].join("\n");
    const imports = importsOf({ path: "shared/routing/x.ts", text });
    const [rule] = rules;
    expect(rule === undefined ? [] : offences(rule, "shared/routing/x.ts", imports)).toHaveLength(
      6,
    );
  });
});
