import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dayUsage, readDayOptions } from "./days/day-options.ts";
import { runSimulatedDays } from "./days/run-days.ts";
import { readOptions, usage } from "./options.ts";
import type { SimulateOptions } from "./options.ts";
import { barChart } from "./plots.ts";
import { simulateAll } from "./simulate-all.ts";
import { formatSummary, summarise } from "./summary.ts";
import { UsageError } from "#dev/capacity/usage-error.ts";

/** Figures that are drawn, with what the plot is called. */
const plots = [
  ["ttftP99Seconds", "Time to first token, P99, seconds"],
  ["itlP99Ms", "Time per token, P99 of requests, ms"],
  ["goodputPerSecond", "Answers within the promised times, per second"],
  ["cachedShare", "Prompt tokens found in a cache, share"],
  ["usdPerMGoodTokens", "Cost of a million good tokens, USD"],
] as const;

/** What a run needs of the process. */
export interface SimulateConsole {
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
  /** Wall clock, ms: only for the speed that is printed. */
  readonly nowMs: () => number;
}

/** Runs the command and gives its exit code: 2 with a reason and the usage for what cannot be done. */
export function runSimulate(args: readonly string[], console: SimulateConsole): number {
  try {
    if (args.includes("--help")) {
      console.print(`${usage}\n\n${dayUsage}`);
      return 0;
    }
    if (args.some((arg) => /^--days(=|$)/.test(arg))) {
      runSimulatedDays(readDayOptions(args), console.print);
      return 0;
    }
    simulateAndReport(readOptions(args), console);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.printError(`${error.message}\n\n${usage}\n\n${dayUsage}`);
    return 2;
  }
}

function simulateAndReport(options: SimulateOptions, { nowMs, print }: SimulateConsole): void {
  const startedAtMs = nowMs();
  const { runs, workload } = simulateAll(options);
  const seconds = (nowMs() - startedAtMs) / 1_000;
  const summary = summarise(runs);
  const table = `${workload}\n\n${formatSummary(summary)}\n`;
  if (options.out !== null) {
    const { out } = options;
    mkdirSync(out, { recursive: true });
    writeFileSync(
      join(out, "report.json"),
      `${JSON.stringify({ workload, summary, runs }, null, 2)}\n`,
    );
    writeFileSync(join(out, "report.md"), table);
    for (const [figure, title] of plots) {
      const svg = barChart(title, figure, summary);
      if (svg !== null) writeFileSync(join(out, `${figure}.svg`), svg);
    }
  }
  print(table);
  const requests = runs.reduce((sum, { replayed }) => sum + replayed, 0);
  const perMinute = Math.round((requests / Math.max(1e-3, seconds)) * 60);
  print(
    `${requests} requests in ${runs.length} runs, ${seconds.toFixed(1)} s: ${perMinute} a minute of wall clock on one core.`,
  );
}
