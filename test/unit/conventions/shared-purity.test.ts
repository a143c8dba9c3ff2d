import { describe, expect, test } from "vitest";
import { filesBelow } from "./source-files.ts";

/** What neither the lint nor the type check of shared/ refuses (CONVENTIONS.md): each reads a clock or chance. */
const impure =
  /\bnew Date\(\s*\)|(?<!\bnew )\bDate\(|\bDate\.now\b|\bglobalThis\b|\bMath\.random\b/;

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
}

describe("shared/ reads no clock and throws no dice", () => {
  const files = filesBelow("shared");

  test("in any of its files", () => {
    expect(files.length).toBeGreaterThan(50);
    const found = files.filter(({ text }) => impure.test(withoutComments(text)));
    expect(found.map(({ path }) => path)).toStrictEqual([]);
  });

  test.each([
    "const at = new Date();",
    "const at = Date();",
    "const at = Date.now();",
    "const clock = Date.now;",
    "const at = globalThis.Date.now();",
    "const chance = Math.random();",
  ])("and this check refuses %s", (line) => {
    expect(impure.test(line)).toBe(true);
  });

  test.each(["const at = new Date(nowMs);", "const at = toDate(nowMs);", "const date = update();"])(
    "and lets %s pass",
    (line) => {
      expect(impure.test(line)).toBe(false);
    },
  );
});
