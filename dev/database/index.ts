import { mkdirSync } from "node:fs";
import { UsageError, parseCommandLine } from "./options.ts";
import { startDatabase } from "./server.ts";

export { startDatabase } from "./server.ts";
export type { DatabaseServer } from "./server.ts";

/** Runs a region's database as a process: one JSON line when it listens, exit code 2 for wrong flags, 1 when it cannot start. */
async function main(): Promise<void> {
  const { port, dataDir, region, isExitingWithParent } = parseCommandLine(process.argv.slice(2));
  let isStopping = false;
  let stop = (): void => {
    isStopping = true;
  };
  process.on("SIGTERM", () => stop());
  process.on("SIGINT", () => stop());
  if (isExitingWithParent) {
    // The parent holds the other end of this pipe; it closes however the parent ends.
    process.stdin.on("end", () => stop()).on("error", () => stop());
    process.stdin.resume();
  }
  mkdirSync(dataDir, { recursive: true });
  const server = await startDatabase({ dataDir, port });
  let closing: Promise<void> | null = null;
  stop = (): void => {
    closing ??= server.close().then(() => process.exit(0), fail);
  };
  // Asked to stop while the database was opening: it is closed as any other, so that the folder stays whole.
  if (isStopping) {
    stop();
    return;
  }
  const line = { event: "listening", url: server.url, region, pid: process.pid };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`database: ${message}\n`);
  process.exit(error instanceof UsageError ? 2 : 1);
}

if (import.meta.main) main().catch(fail);
