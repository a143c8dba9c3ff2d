import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readDays } from "#dev/capacity/demand-days.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "days-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function read(...lines: readonly string[]) {
  const path = join(folder, "days.csv");
  writeFileSync(path, `${lines.join("\n")}\n`);
  return readDays(path);
}

describe("rates of days", () => {
  it("are read a step, with silence where the file has none", () => {
    const { dispersion, rates } = read("t_s,rate_rps", "0,10", "1200,30");
    expect(rates).toStrictEqual([10, 0, 30]);
    expect(dispersion).toStrictEqual([8, 1, 8]);
  });

  it("are summed over clients, each with its burstiness by its weight", () => {
    const { dispersion, rates } = read("t_s,client,rate_rps,cv", "0,a,3,1", "0,b,1,3", "600,a,2,");
    expect(rates).toStrictEqual([4, 2]);
    expect(dispersion).toStrictEqual([(3 * 1 + 1 * 9) / 4, 1]);
  });

  it("bounds the burstiness of a step", () => {
    expect(read("t_s,client,rate_rps,cv", "0,a,1,90").dispersion).toStrictEqual([64]);
    expect(read("t_s,client,rate_rps,cv", "0,a,1,0.1").dispersion).toStrictEqual([1]);
  });

  it.each([
    [["t_ms,rate_rps", "0,1"], /--days .*got columns t_ms,rate_rps, wanted t_s,rate_rps/],
    [["t_s,rate_rps"], /got no rows/],
    [["t_s,rate_rps", "300,1"], /line 2: got t_s 300 .* wanted steps of 600 s/],
    [["t_s,rate_rps", "0,-1"], /line 2: got t_s 0 and rate_rps -1/],
    [["t_s,rate_rps", "0,many"], /line 2: got many, wanted a number in rate_rps/],
    [["t_s,client,rate_rps,cv", "0,a,1,wild"], /line 2: got wild, wanted a number in cv/],
  ])("refuses %j", (lines, message) => {
    expect(() => read(...lines)).toThrow(message);
  });
});
