/** The engine process: reads flags, loads the model, listens, says so on standard output, ends on SIGTERM or with its parent. */
import { OptionsError, parseFlags } from "./options.ts";
import type { GgufOptions } from "./options.ts";
import { startGgufEngine } from "./start.ts";
import type { GgufEngine } from "./start.ts";

function readOptions(): GgufOptions {
  try {
    return parseFlags(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error;
    process.stderr.write(`GGUF engine: ${error.message}\n`);
    process.exit(2);
  }
}

async function load(options: GgufOptions): Promise<GgufEngine> {
  try {
    return await startGgufEngine(options);
  } catch (error) {
    process.stderr.write(`GGUF engine: ${error instanceof Error ? error.message : "failed"}\n`);
    process.exit(1);
  }
}

const options = readOptions();
let engine: GgufEngine | null = null;
let isEnding = false;
function end(): void {
  if (isEnding) return;
  isEnding = true;
  // Native threads may hold the process while a batch runs.
  void (engine?.close() ?? Promise.resolve()).then(() => process.exit(0));
}
process.on("SIGTERM", end);
process.on("SIGINT", end);
if (options.isEndingWithParent) {
  process.stdin.on("end", end);
  process.stdin.on("close", end);
  process.stdin.resume();
}
engine = await load(options);
process.stdout.write(
  `${JSON.stringify({ event: "listening", url: engine.url, pid: process.pid })}\n`,
);
