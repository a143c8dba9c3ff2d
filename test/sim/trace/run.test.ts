import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { gzipSync } from "node:zlib";
import { runSimulate } from "./run-simulate.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const trace = join(fixtures, "blocks.csv");
const fleet = join(fixtures, "fleet.json");
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "simulate-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Output {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function simulate(...args: readonly string[]): Output {
  const lines: { out: string[]; err: string[] } = { out: [], err: [] };
  const code = runSimulate(args, {
    print: (text) => lines.out.push(text),
    printError: (text) => lines.err.push(text),
    nowMs: () => 0,
  });
  return { code, out: lines.out.join("\n"), err: lines.err.join("\n") };
}

function simulateWith(change: Readonly<Record<string, string | null>>): Output {
  const options: Readonly<Record<string, string | null>> = {
    "--trace": trace,
    "--fleet": fleet,
    "--policy": "round-robin",
    "--seed": "1",
    ...change,
  };
  return simulate(
    ...Object.entries(options).flatMap(([name, value]) => (value === null ? [] : [name, value])),
  );
}

describe("npm run simulate", () => {
  test("prints a row for each figure and a column for each policy, and writes report and plots", ({
    expect,
  }) => {
    const out = join(folder, "report");
    const got = simulateWith({ "--policy": "round-robin,meridian", "--seeds": "2", "--out": out });
    expect(got.err).toBe("");
    expect(got.code).toBe(0);
    expect(got.out).toContain("| round-robin");
    expect(got.out).toContain("| ttftP99Seconds");
    expect(got.out).toContain("a minute of wall clock");
    const { runs, summary } = JSON.parse(readFileSync(join(out, "report.json"), "utf8"));
    expect(runs).toHaveLength(4);
    expect(summary[1].figures.ttftP99Seconds.half95).toBeGreaterThan(0);
    expect(readFileSync(join(out, "ttftP99Seconds.svg"), "utf8")).toMatch(/^<svg [^]*<\/svg>\n$/);
    expect(readFileSync(join(out, "report.md"), "utf8")).toContain("| goodputPerSecond");
  });

  test("gives the same report, byte for byte, for the same seed, and another for another", ({
    expect,
  }) => {
    const reportOf = (name: string, seed: string): string => {
      const out = join(folder, name);
      simulateWith({
        "--policy": "random,meridian",
        "--seed": seed,
        "--mix": "15/25/40/20",
        "--load": "2",
        "--out": out,
      });
      return readFileSync(join(out, "report.json"), "utf8");
    };
    expect(reportOf("a", "3")).toBe(reportOf("b", "3"));
    expect(reportOf("c", "4")).not.toBe(reportOf("a", "3"));
  });

  test("reads a trace that is compressed", ({ expect }) => {
    const path = join(folder, "plain.csv.gz");
    writeFileSync(path, gzipSync(readFileSync(join(fixtures, "plain.csv"))));
    expect(simulateWith({ "--trace": path }).code).toBe(0);
  });

  test("prints its usage", ({ expect }) => {
    const got = simulate("--help");
    expect(got.code).toBe(0);
    expect(got.out).toContain("--policy");
  });

  const refusals: readonly (readonly [string, Readonly<Record<string, string | null>>, RegExp])[] =
    [
      ["a trace that is not there", { "--trace": "none.csv" }, /--trace none\.csv: ENOENT/],
      ["a trace of other columns", { "--trace": fleet }, /got columns \{.*wanted session,/s],
      ["no trace", { "--trace": null }, /--trace: got nothing, wanted a value/],
      ["a fleet that is not there", { "--fleet": "none.json" }, /--fleet none\.json: ENOENT/],
      ["a fleet that is no JSON", { "--fleet": trace }, /--fleet .*JSON/],
      [
        "an unknown policy",
        { "--policy": "best" },
        /--policy: got best, wanted one of round-robin/,
      ],
      ["an unknown policy among known", { "--policy": "random,best" }, /--policy: got best/],
      ["a name that every object has", { "--policy": "toString" }, /--policy: got toString/],
      ["no seed", { "--seed": null }, /--seed: got nothing/],
      ["a seed that is no number", { "--seed": "x" }, /--seed: got x, wanted a whole number/],
      ["no seeds", { "--seeds": "0" }, /--seeds: got 0, wanted a whole number from 1/],
      ["a load of nothing", { "--load": "0" }, /--load: got 0, wanted a number above 0/],
      [
        "to switch off a part of a cell that has none",
        { "--policy": "meridian-no-hedge" },
        /--policy: got meridian-no-hedge without --mix/,
      ],
      ["a load beyond ten", { "--load": "10.1" }, /--load: got 10\.1/],
      ["an unknown part", { "--part": "third" }, /--part: got third, wanted one of first, second/],
      ["a mix of three", { "--mix": "1/2/3" }, /--mix: got 1\/2\/3, wanted four shares/],
      ["a mix of nothing", { "--mix": "0/0/0/0" }, /--mix: got 0\/0\/0\/0/],
      ["an unknown fault", { "--fault": "fire" }, /--fault: got fire, wanted one of lose-third/],
      [
        "a flood that nothing would overload",
        { "--fault": "tenant-flood", "--mix": "1/1/1/1", "--load": "0.8" },
        /--fault: got tenant-flood with load 0\.8/,
      ],
      [
        "a flood's mix without a flood",
        { "--flood-mix": "1/0/0/0" },
        /--flood-mix: got 1\/0\/0\/0, wanted it only with --fault tenant-flood/,
      ],
      ["an option that is none", { "--speed": "9" }, /'--speed'/],
    ];

  for (const [what, change, message] of refusals)
    test(`refuses ${what}`, ({ expect }) => {
      const got = simulateWith(change);
      expect(got.code).toBe(2);
      expect(got.err).toMatch(message);
      expect(got.out).toBe("");
    });

  test("names line and column of a value that is no number", ({ expect }) => {
    const path = join(folder, "broken.csv");
    writeFileSync(path, "t_ms,input_tokens,output_tokens\n0,10,10\n5,ten,10\n");
    const got = simulateWith({ "--trace": path });
    expect(got.code).toBe(2);
    expect(got.err).toContain("line 3: got ten, wanted a number in input_tokens");
  });

  test("names the field of a fleet that is wrong", ({ expect }) => {
    const path = join(folder, "fleet.json");
    const text = readFileSync(fleet, "utf8");
    writeFileSync(path, text.replace("a6000-8b", "abacus"));
    expect(simulateWith({ "--fleet": path }).err).toMatch(/got abacus, wanted one of h100-8b/);
    writeFileSync(path, text.replace('"count": 2', '"count": 0'));
    const got = simulateWith({ "--fleet": path });
    expect(got.code).toBe(2);
    expect(got.err).toMatch(/shards\[1\]\.count/);
    writeFileSync(path, text.replaceAll('"count"', '"isSmaller": true, "count"'));
    expect(simulateWith({ "--fleet": path }).err).toMatch(/got smaller models alone/);
    writeFileSync(path, text.replace('"model"', '"tenants": { "cut": true }, "model"'));
    expect(simulateWith({ "--fleet": path }).err).toMatch(/"cut"/);
  });

  test("refuses a trace without rows", ({ expect }) => {
    const path = join(folder, "empty.csv");
    writeFileSync(path, "t_ms,input_tokens,output_tokens\n");
    expect(simulateWith({ "--trace": path }).err).toMatch(/got no rows/);
  });
});
