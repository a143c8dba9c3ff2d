/** The engine process: reads flags, listens, says so on standard output, ends on SIGTERM or with its parent. */
import { OptionsError, parseFlags, type EngineOptions } from "./options.ts";
import { startSimulatedEngine, type SimulatedEngine } from "./start.ts";

function readOptions(): EngineOptions {
  try {
    return parseFlags(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error;
    process.stderr.write(`simulated engine: ${error.message}\n`);
    process.exit(2);
  }
}

async function listen(options: EngineOptions): Promise<SimulatedEngine> {
  try {
    return await startSimulatedEngine(options);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`simulated engine: cannot listen on port ${options.port}: ${message}\n`);
    process.exit(1);
  }
}

const options = readOptions();
const engine = await listen(options);
let isEnding = false;
function end(): void {
  if (isEnding) return;
  isEnding = true;
  void engine.close().then(() => process.exit(0));
}
process.on("SIGTERM", end);
process.on("SIGINT", end);
if (options.isEndingWithParent) {
  process.stdin.on("end", end);
  process.stdin.on("close", end);
  process.stdin.resume();
}
process.stdout.write(
  `${JSON.stringify({ event: "listening", url: engine.url, pid: process.pid })}\n`,
);
