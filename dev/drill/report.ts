import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { recoverySeconds } from "./judge/recovery.ts";
import type { Phases } from "./judge/recovery.ts";
import { quantile, spanOf } from "./judge/timeline.ts";
import type { DrillResult } from "./run-drill.ts";

type Row = readonly string[];

/** Whether every check holds. */
export function isPassed({ checks }: DrillResult): boolean {
  return checks.every(({ isOk }) => isOk);
}

/** The report as markdown, which is also what is printed. */
export function describeResult(result: DrillResult): string {
  const { checks, flows, highestLevel, name, notes, phases, seed, system, title } = result;
  const verdict = isPassed(result) ? "passed" : "FAILED";
  const rates = flows.map((flow) => `${flow.name} ${flow.perSecond}/s ${flow.priority}`).join(", ");
  return [
    `# Drill ${name}: ${verdict}`,
    "",
    `${title}. Against ${system}, seed ${seed}, on a machine with ${cpus().length} processors.`,
    `Traffic: ${rates}. Good is a whole answer whose first token came in time.`,
    `Baseline ${phases.fault - phases.baseline} s, fault ${phases.recovery - phases.fault} s, watched afterwards ${phases.end - phases.recovery} s. ${notes.join(" ")}`,
    `Highest degradation level: ${highestLevel ?? "not told by any cell"}.`,
    "",
    "## Checks",
    "",
    ...checks.map(({ isOk, name: text, seen }) => `- ${isOk ? "ok  " : "FAIL"} ${text}: ${seen}`),
    "",
    "## Goodput",
    "",
    ...table([
      ["flow", "phase", "sent", "good", "good/s", "ttft p50", "ttft p99", "codes"],
      ...flows.flatMap((flow) => phaseRows(result, flow.name)),
    ]),
    "",
    "## Good answers by second of sending",
    "",
    ...flows.flatMap((flow) => [
      `- ${flow.name} (back after ${textOf(recoverySeconds(result.timeline, flow.name, phases))} s)`,
      `  ${curve(result, flow.name)}`,
    ]),
    "",
    "## Memory, most that one process held",
    "",
    ...table([
      ["part", "MiB"],
      ...Object.entries(result.memoryPeaks)
        .toSorted(([, a], [, b]) => b - a)
        .map(([part, bytes]) => [part, String(Math.round(bytes / 2 ** 20))]),
    ]),
    "",
  ].join("\n");
}

/** Writes NAME.md and NAME.json into a folder, which is made. */
export function writeReports(folder: string, result: DrillResult): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${result.name}.md`), describeResult(result));
  const { flows, timeline, ...rest } = result;
  const content = {
    v: 1,
    isPassed: isPassed(result),
    ...rest,
    // Without the keys.
    flows: flows.map(({ key: _key, ...flow }) => flow),
    seconds: Object.fromEntries(timeline.flows),
  };
  writeFileSync(join(folder, `${result.name}.json`), `${JSON.stringify(content, null, 1)}\n`);
}

function bounds(phases: Phases): readonly (readonly [string, number, number])[] {
  return [
    ["baseline", phases.baseline, phases.fault],
    ["fault", phases.fault, phases.recovery],
    ["after", phases.recovery, phases.end],
  ];
}

function phaseRows({ phases, timeline }: DrillResult, flow: string): readonly Row[] {
  return bounds(phases).map(([phase, from, to]) => {
    const span = spanOf(timeline, flow, from, to);
    const codes = Object.entries(span.codes)
      .filter(([code]) => code !== "ok")
      .map(([code, count]) => `${code} ${count}`);
    return [
      flow,
      phase,
      String(span.sent),
      String(span.good),
      to === from ? "-" : (span.good / (to - from)).toFixed(2),
      milliseconds(quantile(span.ttftMs, 0.5)),
      milliseconds(quantile(span.ttftMs, 0.99)),
      codes.length === 0 ? "-" : codes.join(", "),
    ];
  });
}

/** One number a second; `|` at the fault's begin and end. */
function curve({ phases, timeline }: DrillResult, flow: string): string {
  return bounds(phases)
    .map(([, from, to]) =>
      Array.from(
        { length: to - from },
        (_, index) => spanOf(timeline, flow, from + index, from + index + 1).good,
      ).join(" "),
    )
    .join(" | ");
}

function milliseconds(value: number | null): string {
  return value === null ? "-" : `${Math.round(value)} ms`;
}

function textOf(seconds: number | null): string {
  return seconds === null ? "never, or more than 60" : String(seconds);
}

function table(rows: readonly Row[]): readonly string[] {
  const [head = []] = rows;
  const widths = head.map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  const line = (row: Row) =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [line(head), rule, ...rows.slice(1).map(line)];
}
