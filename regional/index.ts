import { describeProblems } from "#shared/config/topology.ts";
import { readConfig } from "./config.ts";
import { createCell } from "./deps.ts";
import { closeServer, serveCell } from "./server.ts";

/** How long open connections may end by themselves after that, ms. */
const closeMs = 1_000;
/** Exit code of a configuration that cannot be used. */
const badConfigurationCode = 2;

const result = readConfig(process.env);
if (!result.ok) {
  process.stderr.write(`The cell cannot start:\n${describeProblems(result.problems)}\n`);
  process.exit(badConfigurationCode);
}
const { config } = result;
const cell = await createCell(config);
cell.start();

const server = serveCell(cell.app, config.listen, (url) => {
  const line = { event: "listening", url, cell: config.cell.id, pid: process.pid };
  process.stdout.write(`${JSON.stringify(line)}\n`);
});

server.on("error", (error: NodeJS.ErrnoException) => {
  const { hostname, port } = config.listen;
  process.stderr.write(
    `The cell cannot listen on ${hostname}:${port}: ${error.code ?? error.name}\n`,
  );
  process.exit(1);
});

let signals = 0;

/**
 * The first signal drains: no new turn, running ones end or are handed over, then the process ends. The second one ends it
 * at once.
 */
async function stop(): Promise<void> {
  signals += 1;
  if (signals > 1) process.exit(1);
  cell.log("info", "draining");
  await cell.drain(config.drainMs);
  await closeServer(server, closeMs);
  await cell.close();
  process.exit(0);
}

process.on("SIGTERM", () => void stop());
process.on("SIGINT", () => void stop());
