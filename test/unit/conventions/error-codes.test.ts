import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { errorCodes, isErrorCode } from "#shared/errors/codes.ts";
import { filesBelow, root } from "./source-files.ts";

const page = readFileSync(join(root, "docs/error-codes.md"), "utf8");
/** Rows of the page's table, by code: HTTP, type, x-should-retry. */
const rows = new Map(
  [...page.matchAll(/^\|\s*`([a-z_]+)`\s*\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|/gm)].map(
    ([, code = "", ...cells]) => [code, cells.map((cell) => cell.trim())],
  ),
);

describe("docs/error-codes.md", () => {
  test.each(Object.entries(errorCodes))("describes %s as it is", (code, specification) => {
    const [status, type, shouldRetry, meaning, action] = rows.get(code) ?? [];
    const { status: wanted } = specification;
    expect(status).toBe(wanted === 200 ? "in the stream" : String(wanted));
    expect(type).toBe(specification.type);
    expect(shouldRetry).toBe(String(specification.shouldRetry));
    expect(meaning?.length).toBeGreaterThan(5);
    expect(action).not.toBe("");
  });

  test("describes no code that does not exist", () => {
    expect([...rows.keys()].filter((code) => !isErrorCode(code))).toStrictEqual([]);
    expect(rows.size).toBe(Object.keys(errorCodes).length);
  });
});

describe("every other page", () => {
  test("names only codes that exist, where it names one beside its status", () => {
    const pages = [...filesBelow("docs", ".md"), { path: "README.md", text: readme() }];
    const named = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/\b[45]\d\d `([a-z_]+)`/g)].map(([, code]) => ({ path, code })),
    );
    expect(named.filter(({ code }) => !isErrorCode(code))).toStrictEqual([]);
  });

  function readme(): string {
    return readFileSync(join(root, "README.md"), "utf8");
  }
});
