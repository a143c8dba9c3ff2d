import { UsageError, parseCommandLine } from "./options.ts";
import { startUpstash } from "./server.ts";

export { startUpstash } from "./server.ts";
export type { UpstashOptions, UpstashServer } from "./server.ts";

/** How often a process that ends with its parent looks for it, in ms; an orphan lives at most this long. */
const parentCheckMs = 500;

/** Runs the server as a process: one JSON line when it listens, exit code 2 for wrong flags, 1 when it cannot start. */
async function main(): Promise<void> {
  // Read first: a parent that ends while the server starts must still be missed.
  const parent = process.ppid;
  const { server: options, isExitingWithParent } = parseCommandLine(process.argv.slice(2));
  const server = await startUpstash(options);

  let isStopping = false;
  const stop = (): void => {
    if (isStopping) return;
    isStopping = true;
    void server.close().then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  if (isExitingWithParent) {
    setInterval(() => {
      if (process.ppid !== parent) stop();
    }, parentCheckMs).unref();
  }
  const regions = Object.fromEntries(
    options.regions.map((region) => [region, server.regionUrl(region)]),
  );
  const line = { event: "listening", url: server.url, regions, pid: process.pid };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`upstash: ${message}\n`);
  process.exit(error instanceof UsageError ? 2 : 1);
}

if (import.meta.main) main().catch(fail);
