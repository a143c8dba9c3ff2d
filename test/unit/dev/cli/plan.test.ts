import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "#dev/cli/run-command.ts";

const root = join(import.meta.dirname, "../../../..");
const fixtures = join(root, "test/sim/trace/fixtures");
const fleet = join(root, "test/sim/fleets/elastic.jsonc");
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "plan-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function plan(...args: readonly string[]) {
  const out: string[] = [];
  const error: string[] = [];
  const code = await runCommand(["plan", ...args], {
    readStandardInput: () => "",
    out: (line) => out.push(line),
    error: (line) => error.push(line),
    environment: {},
    folder,
  });
  return { code, out: out.join("\n"), error: error.join("\n") };
}

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

/** A day whose demand is 30 times as high at noon as at night. */
function dayFile(): string {
  const lines = Array.from(
    { length: 144 },
    (_, step) => `${600 * step},${(160 - 150 * Math.cos((2 * Math.PI * step) / 144)).toFixed(3)}`,
  );
  return file("day.csv", `t_s,rate_rps\n${lines.join("\n")}\n`);
}

const plain = ["--trace", join(fixtures, "plain.csv"), "--fleet", fleet];

describe("meridian plan", () => {
  test("answers at 1, 3, 5 and 10 times, per region and class, with cost and what breaks first", async () => {
    const { code, error, out } = await plan(...plain, "--days", dayFile());
    expect(error).toBe("");
    expect(code).toBe(0);
    for (const factor of [1, 3, 5, 10]) expect(out).toContain(`\n${factor}x: `);
    expect(out).toMatch(/eu-central {2}on-demand {2}\d+/);
    expect(out).toMatch(/us-east {5}all +\d+ +[\d.]+ +[\d.]+ +[\d.]+ +\d+/);
    expect(out).toMatch(/First to break: \w+ in eu-central at [\d.]+x: /);
  });

  test("takes the demand from the trace's own times without a file of days", async () => {
    const { code, out } = await plan(...plain);
    expect(code).toBe(0);
    expect(out).toContain("breaks: nothing");
  });

  const good = readFileSync(fleet, "utf8");
  const broken: readonly (readonly [string, string, string, RegExp])[] = [
    [
      "a share too many",
      '"demandShare": 0.6',
      '"demandShare": 0.7',
      /regions: got .*wanted demandShare that sum up to 1/,
    ],
    [
      "a kind that is none",
      '"kind": "burst"',
      '"kind": "lease"',
      /offers\.4\.kind: got "?lease"?, wanted one of reserved, onDemand, spot, burst/,
    ],
    [
      "unknown hardware",
      '"a100-8b"',
      '"abacus"',
      /offers\.0\.profile: got "?abacus"?, wanted one of h100-8b/,
    ],
    [
      "a price of nothing",
      '"usdPerHour": 3.43',
      '"usdPerHour": 0',
      /offers\.0\.usdPerHour: got 0, wanted a number above 0/,
    ],
    [
      "a price without a month",
      '"asOf": "2026-11"',
      '"asOf": "lately"',
      /offers\.0\.asOf: got "?lately"?, wanted the month of the price/,
    ],
    [
      "a key that is unknown",
      '"model":',
      '"colour": "blue", "model":',
      /colour: got an unknown key, wanted only the keys named in docs\/capacity\.md/,
    ],
    [
      "spot that nobody calls back",
      '"reclaim"',
      '"renamed"',
      /offers\.1\.renamed: got an unknown key/,
    ],
    ["a name twice", '"spot-b"', '"spot-a"', /offers: got .*wanted names that differ/],
  ];
  test.each(broken)("names path, got and wanted of %s", async (_, from, to, message) => {
    expect(good).toContain(from);
    const path = file("fleet.jsonc", good.replace(from, to));
    const got = await plan("--trace", join(fixtures, "plain.csv"), "--fleet", path);
    expect(got.code).toBe(2);
    expect(got.out).toBe("");
    expect(got.error).toMatch(message);
  });

  test("names every problem of a fleet at once", async () => {
    const path = file("fleet.jsonc", '{"model":"","regions":[],"offers":[]}');
    const { error } = await plan("--trace", join(fixtures, "plain.csv"), "--fleet", path);
    expect(error).toContain("model: got");
    expect(error).toContain("regions: got");
    expect(error).toContain("offers: got");
  });

  test.each([
    [["--fleet", fleet], /--trace: got nothing, wanted a file/],
    [["--trace", "x.csv"], /--fleet: got nothing, wanted a file/],
    [["--trace", "none.csv", "--fleet", fleet], /--trace .*none\.csv: ENOENT/],
    [["--trace", "none.csv", "--fleet", "none.jsonc"], /--fleet .*none\.jsonc: ENOENT/],
    [[...plain, "--days", "none.csv"], /--days .*none\.csv: ENOENT/],
    [
      ["--trace", join(fixtures, "sessions.csv"), "--fleet", fleet],
      /sessions without absolute times, wanted --days/,
    ],
    [[...plain, "--speed", "9"], /'--speed'/],
  ])("refuses %j", async (args, message) => {
    const got = await plan(...args);
    expect(got.code).toBe(2);
    expect(got.out).toBe("");
    expect(got.error).toMatch(message);
  });
});
