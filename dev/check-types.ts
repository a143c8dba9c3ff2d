/** Type-checks every runtime with its own globals and prints how many files each program held, so that an empty run shows. */
import { spawnSync } from "node:child_process";

const projects = [
  "tsconfig.json",
  "tsconfig.shared.json",
  "tsconfig.regional.json",
  "tsconfig.workerd.json",
];
let failed = false;

function run(title: string, command: string, args: readonly string[]): string {
  const result = spawnSync(command, args, { encoding: "utf8" });
  if (result.status !== 0) {
    failed = true;
    process.stdout.write(`${title}: failed\n${result.stdout}${result.stderr}\n`);
  }
  return result.stdout;
}

for (const project of projects) {
  const listed = run(project, "tsc", ["-p", project, "--listFilesOnly"]);
  const own = listed
    .split("\n")
    .filter((file) => file.endsWith(".ts") && !file.includes("node_modules"));
  if (own.length === 0) {
    failed = true;
    process.stdout.write(`${project}: no files\n`);
  }
  const before: boolean = failed;
  run(project, "tsc", ["-p", project]);
  if (before === failed && own.length > 0)
    process.stdout.write(`${project}: ${own.length} files checked\n`);
}
if (!process.argv.includes("--fast")) {
  run("wrangler types", "wrangler", ["types", "--check", "--strict-vars=false"]);
  if (!failed) process.stdout.write("worker-configuration.d.ts: up to date\n");
}
process.exitCode = failed ? 1 : 0;
