/**
 * `npm run bench:cell`: what one core of a cell holds, everything on, the engine and the load on another core; writes
 * docs/cell-benchmark.md.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import { cpuMs, isPinned, rssKib, stopAll } from "../processes.ts";
import { quantile } from "../series.ts";
import { startCell, startEngine } from "../targets.ts";
import { putTurn } from "./signed-client.ts";
import type { TurnEnd } from "./signed-client.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "10" },
    streams: { type: "string", default: "2000" },
    out: { type: "string", default: "docs/cell-benchmark.md" },
  },
});

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new TypeError(`${name}: got ${text}, wanted a whole number from 1 to ${max}.`);
}

const seconds = wholeNumber("--seconds", values.seconds, 60);
const streams = wholeNumber("--streams", values.streams, 4_000);
const connections = 64;
/** Time before anything is counted, s. */
const warmSeconds = 20;
/** Time in which the open streams are looked at, ms. */
const heldMs = 10_000;

const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "meridian-cell-"));
process.on("exit", () => {
  stopAll();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});
process.on("SIGINT", () => process.exit(130));
process.on("SIGTERM", () => process.exit(143));

const engine = await startEngine();
/** One cell for each question: what the one leaves in memory is none of the other's. */
const busy = (await startCell(folder, engine.url, 0)).cell;
const open = (await startCell(folder, engine.url, 0)).cell;

function checked(name: string, ends: readonly TurnEnd[]): void {
  const failed = ends.filter(({ isWhole }) => !isWhole);
  if (failed.length === 0 && ends.length > 0) return;
  throw new Error(`${name}: ${failed.length} of ${ends.length} failed; ${failed[0]?.failure}`);
}

/** A closed loop; every answer whole, or the run fails. */
async function saturate(cell: typeof busy, isStreamed: boolean, forSeconds: number) {
  const { pid } = cell.process;
  const cpuBefore = cpuMs(pid);
  const fromMs = performance.now();
  const untilMs = fromMs + forSeconds * 1_000;
  const ends: TurnEnd[] = [];
  const loop = async (): Promise<void> => {
    while (performance.now() < untilMs) ends.push(await putTurn(cell.url, isStreamed, "fast"));
  };
  await Promise.all(Array.from({ length: connections }, loop));
  const elapsedMs = performance.now() - fromMs;
  checked(isStreamed ? "streamed" : "whole", ends);
  const usedMs = cpuMs(pid) - cpuBefore;
  return {
    perSecond: (ends.length * 1_000) / elapsedMs,
    cpuMs: usedMs / ends.length,
    coreShare: usedMs / elapsedMs,
    p50Ms: quantile(
      ends.map(({ ms }) => ms),
      0.5,
    ),
    p99Ms: quantile(
      ends.map(({ ms }) => ms),
      0.99,
    ),
  };
}

/** Streams that are open at once, each with a token a second, and end whole when they are let go. */
async function hold() {
  const { pid } = open.process;
  const kibBefore = rssKib(pid);
  let pieces = 0;
  const calls = Array.from({ length: streams }, () =>
    putTurn(open.url, true, "held", () => {
      pieces += 1;
    }),
  );
  while (pieces < streams) await wait(100);
  const cpuBefore = cpuMs(pid);
  const piecesBefore = pieces;
  const fromMs = performance.now();
  await wait(heldMs);
  const elapsedMs = performance.now() - fromMs;
  const usedMs = cpuMs(pid) - cpuBefore;
  const result = {
    addedKib: (rssKib(pid) - kibBefore) / streams,
    coreShare: usedMs / elapsedMs,
    piecesPerSecond: ((pieces - piecesBefore) * 1_000) / elapsedMs,
  };
  await fetch(`${engine.url}/release`, { method: "POST" });
  checked("held", await Promise.all(calls));
  return result;
}

await saturate(open, true, 3);
const held = await hold();
// A cell runs for weeks; V8 goes on compiling what is hot for the first tens of thousands of requests.
await saturate(busy, true, warmSeconds);
await saturate(busy, false, warmSeconds);
const whole = await saturate(busy, false, seconds);
await saturate(busy, true, warmSeconds / 2);
const streamed = await saturate(busy, true, seconds);

/** A speed at which records of usage are dropped is none. */
const metrics = await (await fetch(`${busy.url}/metrics`)).text();
if (/^meridian_usage_lost_total/m.test(metrics)) throw new Error("usage records were lost");

const row = (name: string, { coreShare, cpuMs: cpu, p50Ms, p99Ms, perSecond }: typeof whole) =>
  `| ${name} | ${perSecond.toFixed(0)} | ${cpu.toFixed(3)} | ${(100 * coreShare).toFixed(0)} % | ${p50Ms.toFixed(1)} | ${p99Ms.toFixed(1)} |`;
const report = `# One core of a cell

Written by \`npm run bench:cell -- --seconds ${seconds} --streams ${streams}\`; do not edit by hand.

- Machine: ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), Node ${process.versions.node}; ${isPinned ? "the cell on one core, engine mock, load, database and health KV on the other" : "processes are not pinned to cores"}. Load average ${loadavg()[1]?.toFixed(1)} over the last five minutes.
- Signed calls as the edge makes them, stateless lane, ${connections} connections in a closed loop; an answer has 64 tokens, which the engine gives at once. ${warmSeconds} s before that are not counted: V8 is still compiling. Logs, metrics, admission, selection, health and history as in production. Every answer had status 200 and its terminal marker, and no record of usage was dropped, else the run fails.

| answers | per second | CPU of the cell, ms each | of its core | p50, ms | p99, ms |
| --- | --- | --- | --- | --- | --- |
${row("whole", whole)}
${row("streamed", streamed)}

${streams} streams open at once, a token a second each, all ended whole: ${held.piecesPerSecond.toFixed(0)} pieces a second (tokens, and the comments by which a client that went is noticed) with ${(100 * held.coreShare).toFixed(0)} % of the core, ${held.addedKib.toFixed(0)} KiB of memory a stream.

Aim: 2,000 stateless requests a second and 2,000 streams on one core. ${whole.perSecond >= 2_000 ? "Both are met." : `The streams are held; of the requests ${((100 * whole.perSecond) / 2_000).toFixed(0)} % are reached.`} What the CPU goes into stands in [benchmarks.md](benchmarks.md), "Cell".
`;
writeFileSync(values.out, report);
process.stdout.write(report);
process.exit(0);
