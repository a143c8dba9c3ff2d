import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { watchNpm } from "../supervisor/npm-parent.ts";
import { drills } from "./drills/index.ts";
import type { Drill } from "./drills/drill.ts";
import { check } from "./judge/checks.ts";
import { DrillUsageError, drillNames, drillUsage, parseDrillOptions } from "./options.ts";
import type { DrillName, DrillOptions } from "./options.ts";
import { describeResult, isPassed, writeReports } from "./report.ts";
import { runDrill } from "./run-drill.ts";
import type { DrillIo, DrillResult } from "./run-drill.ts";
import { attachSystem } from "./system/attached-system.ts";
import { SystemError } from "./system/drilled-system.ts";
import type { DrilledSystem } from "./system/drilled-system.ts";
import { startOwnSystem } from "./system/own-system.ts";

/**
 * `npm run drill -- NAME`: live faults against a running system, one drill at a time, each with a system of its own unless one
 * is attached. Exit code 0 when all checks of all drills hold, 1 when not, 2 for a command line that cannot be used.
 */
const root = fileURLToPath(new URL("../..", import.meta.url));
const stopping = new AbortController();

function log(line: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
}

function readOptions(): DrillOptions {
  try {
    const options = parseDrillOptions(process.argv.slice(2));
    if (options !== "help" && options !== "list") return options;
    const list = drillNames.map((name) => `${name.padEnd(12)} ${drills[name].title}`).join("\n");
    process.stdout.write(`${options === "help" ? drillUsage : list}\n`);
    process.exit(0);
  } catch (error) {
    if (!(error instanceof DrillUsageError)) throw error;
    process.stderr.write(`${error.message}\n${drillUsage}\n`);
    process.exit(2);
  }
}

async function openSystem(drill: Drill, options: DrillOptions): Promise<DrilledSystem> {
  if (options.attachPath !== null) return attachSystem(resolve(options.attachPath));
  log("starting an own system …");
  const onMessage = (text: string): void => log(`npm run dev: ${text}`);
  return startOwnSystem(root, drill.platform ?? null, onMessage, stopping.signal);
}

/** Runs a drill and stops its system; what is left running fails the drill. @throws SystemError when it cannot be run. */
async function runOne(name: DrillName, options: DrillOptions, io: DrillIo): Promise<DrillResult> {
  const drill: Drill = drills[name];
  const system = await openSystem(drill, options);
  let result: DrillResult | null = null;
  let left: readonly string[] = [];
  try {
    const refusal = drill.refuse(system);
    if (refusal !== null) throw new SystemError(`${name} cannot be run here: ${refusal}.`);
    result = await runDrill(name, drill, system, options, io);
    if (options.outPath !== null && !isPassed(result))
      system.keepLogs(join(resolve(options.outPath), `${name}-logs`));
  } finally {
    left = await system.stop();
  }
  const seen = left.length === 0 ? "nothing" : left.join(", ");
  const end = check("nothing that the drill started is left running", left.length === 0, seen);
  return { ...result, checks: [...result.checks, end] };
}

const options = readOptions();
process.stdout.on("error", () => undefined);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => stopping.abort(`stopped by ${signal}`));
watchNpm(process.env, () => stopping.abort("npm is gone"));

let exitCode = 0;
for (const name of options.drills) {
  if (stopping.signal.aborted) break;
  log(`drill ${name}: ${drills[name].title}`);
  try {
    const result = await runOne(name, options, { log, signal: stopping.signal });
    process.stdout.write(`\n${describeResult(result)}\n`);
    if (options.outPath !== null) writeReports(resolve(options.outPath), result);
    if (!isPassed(result)) exitCode = 1;
  } catch (error) {
    const text = error instanceof SystemError ? error.message : String((error as Error).stack);
    process.stderr.write(`${text}\n`);
    exitCode = 1;
  }
}
process.exit(stopping.signal.aborted ? 1 : exitCode);
