import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { defaultForecastPolicy } from "#shared/scaling/forecast-policy.ts";
import { backTest, quantile } from "./back-test.ts";

const usage = `npm run forecast -- FILE
  Back-tests the demand forecast on a series of rates, one a 10-minute step: CSV, gzipped or not, with a column rate_rps.`;

/** The rates of a file. @throws Error that says what the file should be. */
function readRates(path: string): readonly number[] {
  const bytes = readFileSync(path);
  const text = (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
  const [head = "", ...lines] = text.trim().split(/\r?\n/);
  const column = head.split(",").indexOf("rate_rps");
  if (column < 0) throw new Error(`${path}: got the columns ${head}, wanted rate_rps among them`);
  return lines.map((line, index) => {
    const rate = Number(line.split(",")[column] || "none");
    if (Number.isFinite(rate) && rate >= 0) return rate;
    throw new Error(`${path}: line ${index + 2}: got ${line}, wanted a rate of 0 or more`);
  });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`.padStart(8);
}

/** The command line; returns the process's exit status. */
function main(args: readonly string[]): number {
  const [path] = args;
  if (path === undefined || args.length > 1 || path.startsWith("-")) {
    console.log(usage);
    return path === "--help" ? 0 : 2;
  }
  let rates: readonly number[];
  try {
    rates = readRates(path);
  } catch (error) {
    console.error(error instanceof Error ? error.message : "unreadable");
    return 2;
  }
  const day = defaultForecastPolicy.seasonSteps;
  if (rates.length < 6 * day) {
    console.error(`${path}: got ${rates.length} steps, wanted six days of ${day} at least`);
    return 2;
  }
  const half = Math.floor(rates.length / 2);
  for (const [what, from, to] of [
    ["chosen on (third day to the half)", 2 * day, half],
    ["not seen (second half)", half, rates.length],
  ] as const) {
    console.log(`\n${what}\nminutes ahead   forecast     as now   within the ${quantile} margin`);
    for (const { covered, error, errorAsNow, steps } of backTest(rates, from, to)) {
      console.log(
        `${String(10 * steps).padStart(13)}   ${percent(error)}   ${percent(errorAsNow)}   ${percent(covered)}`,
      );
    }
  }
  return 0;
}

process.exitCode = main(process.argv.slice(2));
