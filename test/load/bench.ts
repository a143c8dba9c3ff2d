/** `npm run bench`: what each way to the engine costs, side by side in one run; writes docs/benchmarks.md. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readOptions } from "./options.ts";
import { stopAll } from "./processes.ts";
import { renderReport } from "./report.ts";
import type { Measured } from "./report.ts";
import { measureOpenStreams, measureRound, startClient, warmUp } from "./series.ts";
import {
  buildBundle,
  startEngine,
  startHonoOnNode,
  startMeridian,
  startWorker,
} from "./targets.ts";
import type { Target } from "./targets.ts";

const options = readOptions(process.argv.slice(2));
const isInMemory = existsSync("/dev/shm");
// In memory: what an object's commit costs on a disk of this machine says nothing about the platform, which replicates it.
const folder = mkdtempSync(join(isInMemory ? "/dev/shm" : tmpdir(), "meridian-bench-"));
process.on("exit", () => {
  stopAll();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});
process.on("SIGINT", () => process.exit(130));
process.on("SIGTERM", () => process.exit(143));

const bundle = buildBundle(folder);
const engine = await startEngine();
const client = startClient();
const { url } = engine;
const direct: Target = {
  name: "direct",
  url,
  headers: {},
  isStored: false,
  isWarm: false,
  parts: { engine: engine.process },
};
const ways: Target[] = [
  direct,
  await startHonoOnNode(url),
  await startWorker(folder, url, { name: "pass-through", main: "pass-through.js" }),
  await startWorker(folder, url, { name: "object RPC", main: "object-rpc.js", writes: "0" }),
  await startWorker(folder, url, { name: "object + row", main: "object-rpc.js", writes: "1" }),
  await startMeridian(folder, url, { name: "stateless lane", bundle, isStored: false }),
  await startMeridian(folder, url, { name: "durable lane", bundle, isStored: true }),
  await startMeridian(folder, url, {
    name: "durable lane, warm",
    bundle,
    isStored: true,
    isWarm: true,
  }),
];
const targets = ways.map((target) => ({
  ...target,
  parts: { ...target.parts, engine: engine.process },
}));

const unmeasured = { addedKib: {}, cpuMsPerSecond: {} };
const measured: Measured[] = [];
for (const target of targets) {
  await warmUp(client, target);
  // 500 streams want 500 conversations, so the cold lane's row is the one for memory.
  const open = target.isWarm
    ? unmeasured
    : await measureOpenStreams(client, target, url, options.openStreams);
  measured.push({ target, open, rounds: [] });
  process.stdout.write(`${target.name}: warm\n`);
}
for (let round = 1; round <= options.rounds; round += 1) {
  for (const { target, rounds } of measured) {
    rounds.push(await measureRound(client, target, options.seconds));
  }
  process.stdout.write(`round ${round} of ${options.rounds}\n`);
}
const report = renderReport(measured, { ...options, isInMemory });
writeFileSync(options.out, report);
process.stdout.write(report);
process.exit(0);
