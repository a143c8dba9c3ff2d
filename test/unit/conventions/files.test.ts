import { describe, expect, test } from "vitest";
import { filesBelow } from "./source-files.ts";

/** The most lines of a file: it holds one idea. */
const linesMax = 500;
const sources = ["shared", "edge", "regional", "dev", "test"].flatMap((folder) =>
  filesBelow(folder),
);

describe("source files", () => {
  test("have names in kebab-case, after the noun that they hold", () => {
    const name = /^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.test-d|\.d)?\.ts$/;
    const wrong = sources.filter(({ path }) => {
      const base = path.split("/").at(-1) ?? "";
      return !name.test(base) || /^(utils?|helpers?|manager|misc)\.ts$/.test(base);
    });
    expect(wrong.map(({ path }) => path)).toStrictEqual([]);
  });

  test(`have at most ${linesMax} lines`, () => {
    const long = sources.filter(({ text }) => text.split("\n").length > linesMax + 1);
    expect(long.map(({ path }) => path)).toStrictEqual([]);
  });

  test("hold no unfinished work", () => {
    const marker = new RegExp(`\\b(${["TO", "DO"].join("")}|FIX${"ME"}|X${"XX"})\\b`);
    const found = sources.filter(({ text }) => marker.test(text));
    expect(found.map(({ path }) => path)).toStrictEqual([]);
  });
});
