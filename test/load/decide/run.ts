import { readFileSync, writeFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { decideCases } from "./cases.ts";
import { measureCase } from "./measure.ts";
import type { DecideProcess } from "./measure.ts";
import { readDecideOptions } from "./options.ts";
import { formatResults, withSection } from "./report.ts";

// The collector's own switch, so that the command needs no flag.
setFlagsFromString("--expose-gc");
const collectGarbage: unknown = runInNewContext("gc");

const own: DecideProcess = {
  nowMs: () => performance.now(),
  heapUsedBytes: () => process.memoryUsage().heapUsed,
  collectGarbage() {
    if (typeof collectGarbage === "function") collectGarbage();
  },
};

const { decisions, only, out } = readDecideOptions(process.argv.slice(2));
const chosen = decideCases.filter(({ name }) => only === null || name.includes(only));
if (chosen.length === 0)
  throw new TypeError(
    `--only: got ${only}, wanted part of one of ${decideCases.map(({ name }) => name).join(", ")}`,
  );
const results = chosen.map((one) => {
  const result = measureCase(one, decisions, own);
  console.error(`${result.name}: ${result.fastestMicroseconds.toPrecision(3)} µs`);
  return result;
});
const table = formatResults(results);
console.log(table);
if (out !== null) writeFileSync(out, withSection(readFileSync(out, "utf8"), table));
