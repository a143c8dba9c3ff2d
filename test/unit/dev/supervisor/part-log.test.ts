import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openPartLog } from "#dev/supervisor/part-log.ts";

let folder: string;
let lines: string[];
let errors: string[];
let nowMs: number;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-log-"));
  lines = [];
  errors = [];
  nowMs = 1_000;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open() {
  const listeners = {
    onLine: (line: string) => lines.push(line),
    onError: (line: string) => errors.push(line),
  };
  return openPartLog(join(folder, "part.log"), listeners, () => nowMs);
}

async function write(kind: "stdout" | "stderr", ...pieces: readonly string[]) {
  const log = open();
  const stream = new PassThrough();
  log.follow(stream, kind);
  for (const piece of pieces) stream.write(piece);
  stream.end();
  await finished(stream);
  return log;
}

describe("the log of a part", () => {
  test("joins lines that come in pieces, and passes the last one without its end", async () => {
    await write("stdout", '{"event":"list', 'ening"}\nsecond\nthi', "rd");
    expect(lines).toStrictEqual(['{"event":"listening"}', "second", "third"]);
  });

  test("keeps the run before beside it", () => {
    writeFileSync(join(folder, "part.log"), "before\n");
    open();
    expect(readFileSync(join(folder, "part.log.1"), "utf8")).toBe("before\n");
  });

  test.each([
    ["stdout", '{"level":"error","event":"x"}'],
    ["stderr", '{"level":"error","event":"x"}'],
    ["stderr", "it broke"],
    ["stdout", "✘ [ERROR] it broke"],
  ] as const)("shows an error on %s: %s", async (kind, line) => {
    await write(kind, `${line}\n`);
    expect(errors).toStrictEqual([line]);
  });

  test.each([
    ["stdout", '{"level":"info","event":"x"}'],
    ["stderr", '{"level":"warn","event":"x"}'],
    ["stdout", "plain text"],
    ["stderr", "▲ [WARNING] old"],
  ] as const)("shows no other line on %s: %s", async (kind, line) => {
    await write(kind, `${line}\n`);
    expect(errors).toStrictEqual([]);
  });

  test("shows three errors within five seconds, then where the others are", async () => {
    const many = Array.from({ length: 50 }, (_, index) => `error ${index}\n`);
    await write("stderr", ...many);
    expect(errors).toHaveLength(4);
    expect(errors[3]).toContain("more errors in");
  });

  test("cuts a line without end", async () => {
    const log = await write("stdout", "x".repeat(1_000_000));
    expect(lines.map((line) => line.length)).toStrictEqual([2_000]);
    expect(log.lastLines(1)[0]?.length).toBeLessThan(300);
  });
});
