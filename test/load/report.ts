import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import type { BenchOptions } from "./options.ts";
import { isPinned } from "./processes.ts";
import {
  latencyPerSecond,
  quantile,
  saturationConnections,
  streamsLonger,
  streamsPerSecond,
  warmConversations,
} from "./series.ts";
import type { OpenStreamCost, Round } from "./series.ts";
import { inTheWay } from "./in-the-way.ts";
import { logLevel } from "./targets.ts";
import type { Target } from "./targets.ts";

/** All that was measured of a target. */
export interface Measured {
  readonly target: Target;
  readonly open: OpenStreamCost;
  readonly rounds: Round[];
}

/** Medians of the rounds; latencies are what the way adds to the direct one. */
interface Row {
  readonly name: string;
  readonly figure: (pick: (round: Round) => number) => number;
  readonly open: OpenStreamCost;
}

function rowOf({ target, open, rounds }: Measured): Row {
  return {
    name: target.name,
    open,
    figure: (pick) => quantile(rounds.map(pick), 0.5),
  };
}

function version(name: string): string {
  const value: unknown = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  return typeof value === "object" && value !== null && "version" in value
    ? String(value.version)
    : "unknown";
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return line(head) + line(head.map(() => "---")) + rows.map(line).join("");
}

/** A cost with its base and the ratio that it may have. */
interface Aim {
  readonly what: string;
  readonly lane: string;
  readonly base: string;
  readonly most: number;
  readonly of: (row: Row, direct: Row) => number;
}

const edgeCpu: Aim["of"] = (row) => row.figure((round) => round.cpuMs["workerd"] ?? 0);
const streamCpu: Aim["of"] = (row) => row.figure((round) => round.streamCpuMs["workerd"] ?? 0);
const firstToken: Aim["of"] = (row, direct) =>
  row.figure((round) => round.firstTokenP50) - direct.figure((round) => round.firstTokenP50);
const perToken: Aim["of"] = (row, direct) =>
  row.figure((round) => round.perTokenP50) - direct.figure((round) => round.perTokenP50);
const memory: Aim["of"] = (row) => row.open.addedKib["workerd"] ?? 0;
const cellCpu: Aim["of"] = (row) => row.figure((round) => round.cpuMs["cell"] ?? 0);

const stateless = "stateless lane";
const durable = "durable lane";
const warm = "durable lane, warm";
const plain = "pass-through";
const hono = "Hono on Node";

const aims: readonly Aim[] = [
  { what: "edge CPU per request", lane: stateless, base: plain, most: 2, of: edgeCpu },
  { what: "edge CPU per request", lane: durable, base: "object + row", most: 2, of: edgeCpu },
  { what: "edge CPU per request", lane: warm, base: "object + row", most: 2, of: edgeCpu },
  { what: "added time to first token", lane: stateless, base: plain, most: 2, of: firstToken },
  { what: "added time to first token", lane: durable, base: "object RPC", most: 2, of: firstToken },
  { what: "added time to first token", lane: warm, base: "object RPC", most: 2, of: firstToken },
  { what: "edge CPU per paced stream", lane: stateless, base: plain, most: 2.2, of: streamCpu },
  { what: "edge CPU per paced stream", lane: durable, base: plain, most: 2.5, of: streamCpu },
  { what: "edge CPU per paced stream", lane: warm, base: plain, most: 2.5, of: streamCpu },
  { what: "added time per token", lane: stateless, base: plain, most: 2, of: perToken },
  { what: "added time per token", lane: durable, base: plain, most: 2, of: perToken },
  { what: "added time per token", lane: warm, base: plain, most: 2, of: perToken },
  { what: "edge memory per open stream", lane: stateless, base: plain, most: 1.3, of: memory },
  { what: "edge memory per open stream", lane: durable, base: plain, most: 1.5, of: memory },
  { what: "cell CPU per request", lane: stateless, base: hono, most: 1.5, of: cellCpu },
  { what: "cell CPU per request", lane: durable, base: hono, most: 1.5, of: cellCpu },
  { what: "cell CPU per request", lane: warm, base: hono, most: 1.5, of: cellCpu },
];

/** Smallest base that a ratio is taken of, ms or KiB: below it the ratio is one of noise. */
const baseMin = 0.002;

function aimLine(aim: Aim, rows: ReadonlyMap<string, Row>): readonly string[] {
  const [row, base, direct] = [rows.get(aim.lane), rows.get(aim.base), rows.get("direct")];
  if (row === undefined || base === undefined || direct === undefined) throw new TypeError("rows");
  const [value, floor] = [aim.of(row, direct), aim.of(base, direct)];
  const head = [aim.what, aim.lane, aim.base, value.toFixed(3), floor.toFixed(3)];
  if (floor < baseMin) return [...head, "–", `${aim.most}x`, "not measurable: the base is noise"];
  const ratio = value / floor;
  return [...head, `${ratio.toFixed(1)}x`, `${aim.most}x`, ratio <= aim.most ? "met" : "not met"];
}

/** The page: how it was measured, the figures, and the aims beside their ratios. */
export function renderReport(
  measured: readonly Measured[],
  options: BenchOptions & { readonly isInMemory: boolean },
): string {
  const all = measured.map(rowOf);
  const rows = new Map(all.map((row) => [row.name, row]));
  const direct = rows.get("direct");
  if (direct === undefined) throw new TypeError("no direct row");
  const part = (costs: Readonly<Record<string, number>>, name: string) =>
    costs[name] === undefined ? "" : costs[name].toFixed(name === "" ? 0 : 3);
  const parts = ["workerd", "cell", "database", "engine", "client"];
  const cpu = all.map((row) => {
    const costs = Object.fromEntries(
      parts
        .filter((name) => name === "client" || measuredHas(measured, row.name, name))
        .map((name) => [name, row.figure((round) => round.cpuMs[name] ?? 0)]),
    );
    const streamed = row.figure((round) => round.streamCpuMs["workerd"] ?? 0);
    const cell = row.figure((round) => round.streamCpuMs["cell"] ?? 0);
    return [
      row.name,
      ...parts.map((name) => part(costs, name)),
      streamed === 0 ? "" : streamed.toFixed(2),
      cell === 0 ? "" : cell.toFixed(2),
    ];
  });
  const added = all.map((row) => {
    const over = (pick: (round: Round) => number) =>
      (row === direct ? row.figure(pick) : row.figure(pick) - direct.figure(pick)).toFixed(2);
    return [
      row === direct ? "direct (absolute)" : row.name,
      over((round) => round.latencyP50),
      over((round) => round.latencyP99),
      over((round) => round.firstTokenP50),
      over((round) => round.perTokenP50 * 1000),
      row.figure((round) => round.requestsPerSecond).toFixed(0),
      row.open.addedKib["workerd"]?.toFixed(0) ?? "",
      row.open.addedKib["cell"]?.toFixed(0) ?? "",
      row.open.cpuMsPerSecond["workerd"]?.toFixed(2) ?? "",
    ];
  });
  const cpuModel = cpus()[0]?.model ?? "unknown";
  return `# Benchmarks

Written by \`npm run bench -- --rounds ${options.rounds} --seconds ${options.seconds} --open-streams ${options.openStreams}\`; do not edit by hand. Absolute figures are of one machine; compare the ratios.

- Machine: ${availableParallelism()} cores (${cpuModel}), Node ${process.versions.node}, workerd ${version("workerd")}; ${isPinned ? "workerd on one core, everything else on the other" : "no core of its own for workerd"}. ${new Date().toISOString().slice(0, 10)}. Other work on the machine was not excluded: load average ${loadavg()[1]?.toFixed(0)} over the last five minutes, of which the benchmark is about 2.
- The edge is the bundle of \`wrangler deploy --dry-run\` under the workerd binary. Each lane has a stack of its own: edge, cell, database (PGlite), health KV.
- Medians of ${options.rounds} interleaved rounds, ${options.seconds} s a series. Every answer had status 200 and its terminal marker, else the run fails.
- Not streamed: closed loop of ${saturationConnections} connections for CPU and requests per second, open loop of ${latencyPerSecond}/s for latency. Streams: 64 tokens, one each 5 ms, ${streamsPerSecond}/s for ${streamsLonger * options.seconds} s. A way is measured when its processes are idle: first latency, then streams, the closed loop last. Memory: ${options.openStreams} open streams on fresh, warm processes, a token a second on each.
- Edge and cells log at \`${logLevel}\`, the default, as in production: a line for each request, read by the benchmark from a pipe.
- Files of objects and databases lie ${options.isInMemory ? "in memory (`/dev/shm`): the platform replicates a commit, and this machine's disk would be measured in its place" : "on this machine's disk, whose commits are part of what is measured"}.
- The objects of the two object rows are warm. Every request of the durable lane makes a new conversation, so its object is cold and creates its tables; "durable lane, warm" goes on with ${warmConversations} conversations of one turn, made anew before each series.
- The engine mock is asked for a stream by the cells always, also where the client wants one body.

## CPU, ms per request

${table(["way", ...parts, "workerd per paced stream", "cell per paced stream"], cpu)}
## Latency, throughput, memory

${table(["way", "added p50, ms", "added p99, ms", "added time to first token p50, ms", "added time per token p50, µs", "requests per second", "workerd KiB per open stream", "cell KiB per open stream", "workerd CPU ms per open stream and second"], added)}
## Aims

${table(
  ["what", "lane", "base", "lane, ms or KiB", "base, ms or KiB", "ratio", "aim", ""],
  aims.map((aim) => aimLine(aim, rows)),
)}
## What stands in the way

${inTheWay}`;
}

function measuredHas(measured: readonly Measured[], target: string, part: string): boolean {
  return measured.some(({ target: { name, parts } }) => name === target && part in parts);
}
