/**
 * `npm test`: every project of vitest.config.ts in turn, with a summary of each. A project that ran no test is a failure:
 * a green run that checked nothing shows.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const projects = [
  "unit",
  "sim",
  "workerd",
  "contract",
  "regional",
  "residency",
  "conformance",
  "e2e",
] as const;

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
  readonly success: boolean;
}

/** Skipped tests that the summary names. */
const skippedNamesMax = 40;
const folder = mkdtempSync(join(tmpdir(), "meridian-tests-"));
const skippedLines = new Set<string>();

/** Runs one project, passing its output on, and returns its report; null when it wrote none. */
function runProject(project: string): Promise<Report | null> {
  const file = join(folder, `${project}.json`);
  const child = spawn(
    process.execPath,
    [
      "node_modules/vitest/vitest.mjs",
      "run",
      ...["--project", project],
      ...["--reporter", "dot", "--reporter", "json", `--outputFile.json=${file}`],
    ],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } },
  );
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      const text = chunk.toString("utf8");
      process.stdout.write(text);
      for (const line of text.split("\n")) {
        if (line.includes("SKIPPED:")) skippedLines.add(line.trim());
      }
    });
  }
  return new Promise((resolve) => {
    child.on("exit", () => {
      try {
        resolve(JSON.parse(readFileSync(file, "utf8")) as Report);
      } catch {
        resolve(null);
      }
    });
  });
}

const asked = process.argv.slice(2);
const chosen = asked.length === 0 ? projects : projects.filter((name) => asked.includes(name));
if (asked.some((name) => !projects.includes(name as (typeof projects)[number]))) {
  process.stderr.write(`Usage: npm test [-- ${projects.join(" | ")}]\n`);
  process.exit(2);
}

// The residency tests load the bundle that would be deployed.
const built = spawnSync(process.execPath, ["dev/build.ts"], { stdio: "inherit" });
if (built.status !== 0) {
  process.stdout.write("The build failed; no test was run.\n\n0 passed, 1 failed, 0 skipped\n");
  process.exit(1);
}

let passed = 0;
let failed = 0;
let skipped = 0;
const summary: string[] = [];
const skippedNames: string[] = [];
for (const project of chosen) {
  const startedAtMs = performance.now();
  const report = await runProject(project);
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(0);
  if (report === null || report.numPassedTests + report.numFailedTests === 0) {
    failed += 1;
    summary.push(`${project}: RAN NO TEST (${seconds} s)`);
    continue;
  }
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  skipped += report.numPendingTests + report.numTodoTests;
  for (const { fullName, status } of report.testResults.flatMap((file) => file.assertionResults)) {
    if (status !== "passed" && status !== "failed") skippedNames.push(`${project}: ${fullName}`);
  }
  // An error outside of any test fails the run without a failed test.
  if (!report.success && report.numFailedTests === 0) failed += 1;
  summary.push(
    `${project}: ${report.testResults.length} files, ${report.numPassedTests} passed, ${report.numFailedTests} failed, ${report.numPendingTests} skipped (${seconds} s)${report.success ? "" : " FAILED"}`,
  );
}
rmSync(folder, { recursive: true, force: true });
process.stdout.write(`\n${summary.join("\n")}\n`);
for (const name of skippedNames.slice(0, skippedNamesMax))
  process.stdout.write(`skipped     ${name}\n`);
if (skippedNames.length > skippedNamesMax)
  process.stdout.write(`skipped     and ${skippedNames.length - skippedNamesMax} more\n`);
for (const line of skippedLines) process.stdout.write(`${line}\n`);
process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
process.exitCode = failed === 0 ? 0 : 1;
