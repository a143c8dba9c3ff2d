import { fileURLToPath } from "node:url";
import { UsageError, devUsage, parseDevOptions } from "./supervisor/options.ts";
import type { DevOptions } from "./supervisor/options.ts";
import { watchNpm } from "./supervisor/npm-parent.ts";
import { startDev } from "./supervisor/run-dev.ts";
import type { DevRun } from "./supervisor/run-dev.ts";
import { StartError } from "./supervisor/state-folder.ts";

/** Exit codes: 0 stopped as asked, 1 could not start, 2 wrong options, 130 killed by the second Ctrl-C. */
const killedCode = 130;

function readOptions(): DevOptions {
  try {
    const options = parseDevOptions(process.argv.slice(2));
    if (options !== null) return options;
    process.stdout.write(`${devUsage}\n`);
    process.exit(0);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n${devUsage}\n`);
    process.exit(2);
  }
}

const options = readOptions();
let run: DevRun | null = null;
let isEnding = false;

function end(): void {
  if (isEnding) {
    run?.kill();
    process.stderr.write("Killed.\n");
    process.exit(killedCode);
  }
  isEnding = true;
  process.stdout.write("\nStopping … (Ctrl-C again kills)\n");
  void (run?.stop() ?? Promise.resolve()).then(() => {
    process.stdout.write("Stopped.\n");
    process.exit(0);
  });
}

// A terminal that is closed takes its console along: writing there must not end the supervisor before its parts.
process.stdout.on("error", () => undefined);
process.stderr.on("error", () => undefined);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, end);
watchNpm(process.env, end);

try {
  await startDev(
    options,
    {
      root: fileURLToPath(new URL("..", import.meta.url)),
      folder: process.cwd(),
      environment: process.env,
      out: (text) => process.stdout.write(text),
      error: (text) => process.stderr.write(text),
    },
    (started) => {
      run = started;
    },
  );
} catch (error) {
  // A signal while starting stops everything; what then fails to start is no news.
  if (!isEnding) {
    const text = error instanceof StartError ? error.message : String((error as Error).stack);
    process.stderr.write(`\n${text}\n`);
    process.exit(1);
  }
}
