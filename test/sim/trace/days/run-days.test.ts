import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { traceText } from "./fleet-of-tests.ts";
import { runSimulate } from "../run-simulate.ts";

const short = join(import.meta.dirname, "../fixtures/plain.csv");
const fleet = join(import.meta.dirname, "../../fleets/elastic.jsonc");
let folder = "";
let days = "";
let trace = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "simulate-days-"));
  days = join(folder, "days.csv");
  trace = join(folder, "trace.csv");
  writeFileSync(trace, traceText(2_000));
  const lines = Array.from(
    { length: 144 },
    (_, at) => `${600 * at},${(80 - 60 * Math.cos((2 * Math.PI * at) / 144)).toFixed(3)}`,
  );
  writeFileSync(days, `t_s,rate_rps\n${lines.join("\n")}\n`);
});
afterAll(() => rmSync(folder, { recursive: true }));

function simulate(change: Readonly<Record<string, string | null>> = {}) {
  const options: Readonly<Record<string, string | null>> = {
    "--days": days,
    "--trace": trace,
    "--fleet": fleet,
    "--scaler": "static-peak,ours",
    "--seed": "1",
    ...change,
  };
  const out: string[] = [];
  const err: string[] = [];
  const args = Object.entries(options).flatMap(([name, value]) =>
    value === null ? [] : [name, value],
  );
  const code = runSimulate(args, {
    print: (text) => out.push(text),
    printError: (text) => err.push(text),
    nowMs: () => 0,
  });
  return { code, out: out.join("\n"), err: err.join("\n") };
}

describe("npm run simulate -- --days", { timeout: 60_000 }, () => {
  test("prints a column for each scaler and the forecast's errors, and writes report and plots", () => {
    const out = join(folder, "report");
    const got = simulate({ "--seeds": "2", "--out": out });
    expect(got.err).toBe("");
    expect(got.code).toBe(0);
    expect(got.out).toMatch(/\| figure +\| static-peak +\| ours/);
    for (const figure of [
      "usdPerMGoodTokens",
      "idleShare",
      "coldWaitShare",
      "coldWaitP99Seconds",
      "criticalTtftP99Seconds",
      "sloMissShare",
    ])
      expect(got.out).toContain(`| ${figure} `);
    expect(got.out).toMatch(/\| 10 min \| [\d.]+ % \| [\d.]+ % \|/);
    const { runs, summary } = JSON.parse(readFileSync(join(out, "report.json"), "utf8"));
    expect(runs).toHaveLength(4);
    for (const { figures } of summary) expect(figures.usdPerMGoodTokens.mean).toBeGreaterThan(0);
    expect(readFileSync(join(out, "replicas.svg"), "utf8")).toMatch(
      /^<svg [^]*day 0[^]*<\/svg>\n$/,
    );
  });

  test("gives the same report, byte for byte, for the same seed, and another for another", () => {
    const reportOf = (name: string, seed: string): string => {
      const out = join(folder, name);
      simulate({ "--seed": seed, "--out": out });
      return readFileSync(join(out, "report.json"), "utf8");
    };
    expect(reportOf("a", "3")).toBe(reportOf("b", "3"));
    expect(reportOf("c", "4")).not.toBe(reportOf("a", "3"));
  });

  test("replays an hour request by request, close to the flow", () => {
    const out = join(folder, "hour");
    const got = simulate({
      "--scaler": "ours",
      "--scale": "0.1",
      "--check-hour": "12",
      "--out": out,
    });
    expect(got.out).toContain("The hour as a flow / request by request");
    const { check } = JSON.parse(readFileSync(join(out, "report.json"), "utf8"));
    expect(check.requests).toBeGreaterThan(20_000);
    expect(
      check.replayed.critical.ttftP99Seconds / check.flow.critical.ttftP99Seconds,
    ).toBeGreaterThan(0.5);
    expect(
      check.replayed.critical.ttftP99Seconds / check.flow.critical.ttftP99Seconds,
    ).toBeLessThan(2);
  });

  test.each([
    [
      "a trace too short to measure with",
      { "--trace": short },
      /--trace: got 200 requests, wanted 1000 at least/,
    ],
    ["no days", { "--days": "" }, /--days: got nothing/],
    ["days that are not there", { "--days": "none.csv" }, /--days none\.csv: ENOENT/],
    [
      "a fleet that cannot grow",
      { "--fleet": join(import.meta.dirname, "../../fleets/even.json") },
      /regions: got nothing, wanted a list of regions/,
    ],
    [
      "an unknown scaler",
      { "--scaler": "ours,magic" },
      /--scaler: got magic, wanted one of production, production-2-zones, production-3-zones, ours, /,
    ],
    [
      "a scaler named as what every object has",
      { "--scaler": "toString" },
      /--scaler: got toString/,
    ],
    ["no scaler", { "--scaler": null }, /--scaler: got nothing/],
    ["a scale of nothing", { "--scale": "0" }, /--scale: got 0, wanted a number from 0\.001/],
    [
      "nothing left to count",
      { "--learn-days": "1" },
      /--learn-days: got 1, wanted fewer than the 1\.0 days/,
    ],
    ["an hour after the end", { "--check-hour": "24" }, /--check-hour: got 24, wanted below 24/],
    ["an option of the other mode", { "--policy": "meridian" }, /'--policy'/],
  ])("refuses %s", (_, change, message) => {
    const got = simulate(change);
    expect(got.code).toBe(2);
    expect(got.err).toMatch(message);
    expect(got.out).toBe("");
  });
});
