import type { Job, Result } from "./load-client.ts";
import type { Started } from "./processes.ts";
import { cpuMs, rssKib, start } from "./processes.ts";
import { bodyOf } from "./targets.ts";
import type { Target } from "./targets.ts";

/** What one round of one target gave; times in ms, absolute (the direct path is subtracted by the report). */
export interface Round {
  readonly requestsPerSecond: number;
  /** CPU per request by part, at saturation, not streamed. */
  readonly cpuMs: Readonly<Record<string, number>>;
  /** CPU per paced stream by part. */
  readonly streamCpuMs: Readonly<Record<string, number>>;
  readonly latencyP50: number;
  readonly latencyP99: number;
  readonly firstTokenP50: number;
  readonly perTokenP50: number;
}

/** Closed loop of the saturation series, connections. */
export const saturationConnections = 24;
/** Open loop of the latency series, requests per second: far below every target's saturation. */
export const latencyPerSecond = 60;
/** Open loop of the paced streams, streams per second. */
export const streamsPerSecond = 20;
/** How much longer the series of streams is than the others: CPU is counted in steps of 10 ms. */
export const streamsLonger = 2;
/** Conversations that a series on warm ones goes round: more than are ever open at once. */
export const warmConversations = 64;
const warmUpSeconds = 1;
const settleMs = 3_000;
/** A process is calm when it used less than this share of a core for this long, ms; waited for at most so long, ms. */
const calm = { share: 0.08, forMs: 500, atMostMs: 10_000 };
/** How long the engine keeps a held stream open unless it is released: 64 tokens of 1 s (engine-mock.ts). */
const heldMs = 60_000;

/** The load generator's process. */
export interface Client {
  readonly process: Started;
  do(job: Job): Promise<Result>;
}

/** Starts the load generator. */
export function startClient(): Client {
  const started = start(process.execPath, ["test/load/load-client.ts"], { core: 1, third: "ipc" });
  return {
    process: started,
    do: (job) =>
      new Promise((resolve) => {
        started.child.once("message", (message) => resolve(message as Result));
        started.child.send(job);
      }),
  };
}

/** The value below which a share of the sorted values lies; 0 for none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function jobOf(
  target: Target,
  kind: Job["kind"],
  seconds: number,
  pace: "fast" | "paced" | "held" = "fast",
): Job {
  const isStreamed = pace !== "fast";
  return {
    url: `${target.url}/v1/chat/completions`,
    headers: target.headers,
    body: bodyOf(target, isStreamed, pace),
    isStreamed,
    kind,
    isContinued: target.isWarm && kind !== "prepare",
    connections: kind === "prepare" ? warmConversations : saturationConnections,
    perSecond: isStreamed ? streamsPerSecond : latencyPerSecond,
    seconds,
  };
}

/** A result in which every answer was whole. @throws when one was not: a rate without its answers is void. */
function checked(target: Target, result: Result): Result {
  if (result.sent > 0 && result.whole === result.sent) return result;
  throw new Error(
    `${target.name}: ${result.whole} whole answers of ${result.sent}; first failure: ${result.firstFailure}`,
  );
}

/** Runs a job and says what each part's CPU time was, per request. */
async function counted(client: Client, target: Target, job: Job) {
  const parts = Object.entries({ ...target.parts, client: client.process });
  const before = parts.map(([, { pid }]) => cpuMs(pid));
  const result = checked(target, await client.do(job));
  const cpu = Object.fromEntries(
    parts.map(([name, { pid }], index) => [
      name,
      (cpuMs(pid) - (before[index] ?? 0)) / result.whole,
    ]),
  );
  return { result, cpu };
}

/** Waits until a target's processes have done what an earlier series left behind: deliveries, settlements, collections. */
async function untilCalm(target: Target): Promise<void> {
  const total = () => Object.values(target.parts).reduce((sum, { pid }) => sum + cpuMs(pid), 0);
  const from = performance.now();
  let before = total();
  while (performance.now() - from < calm.atMostMs) {
    await new Promise((resolve) => setTimeout(resolve, calm.forMs));
    const after = total();
    if (after - before < calm.share * calm.forMs) return;
    before = after;
  }
}

/** New conversations of one turn for a target that wants warm ones, so that none grows over the rounds. */
async function prepare(client: Client, target: Target): Promise<void> {
  if (target.isWarm) checked(target, await client.do(jobOf(target, "prepare", 0)));
  await untilCalm(target);
}

/** Warms a target: its code, connections and objects. */
export async function warmUp(client: Client, target: Target): Promise<void> {
  await prepare(client, target);
  checked(target, await client.do(jobOf(target, "open", warmUpSeconds)));
  checked(target, await client.do(jobOf(target, "open", warmUpSeconds, "paced")));
}

/** What streams cost that are open and get a token a second each. */
export interface OpenStreamCost {
  /** Resident memory that an open stream adds to each part. */
  readonly addedKib: Readonly<Record<string, number>>;
  /** CPU of each part per stream and second. */
  readonly cpuMsPerSecond: Readonly<Record<string, number>>;
}

/** Opens the streams, looks at the processes, and has the engine end them. @throws unless each one ends whole. */
export async function measureOpenStreams(
  client: Client,
  target: Target,
  engineUrl: string,
  openStreams: number,
): Promise<OpenStreamCost> {
  const parts = Object.entries(target.parts);
  const each = (figure: (pid: number, index: number) => number) =>
    Object.fromEntries(parts.map(([name, { pid }], index) => [name, figure(pid, index)]));
  const rssBefore = parts.map(([, { pid }]) => rssKib(pid));
  const { elapsedMs } = await client.do({
    ...jobOf(target, "hold", 0, "held"),
    connections: openStreams,
  });
  if (elapsedMs + settleMs > heldMs)
    throw new Error(
      `${target.name}: ${openStreams} streams took ${elapsedMs.toFixed(0)} ms to open`,
    );
  const cpuBefore = parts.map(([, { pid }]) => cpuMs(pid));
  const from = performance.now();
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const streamSeconds = (openStreams * (performance.now() - from)) / 1000;
  const cost = {
    addedKib: each((pid, index) => (rssKib(pid) - (rssBefore[index] ?? 0)) / openStreams),
    cpuMsPerSecond: each((pid, index) => (cpuMs(pid) - (cpuBefore[index] ?? 0)) / streamSeconds),
  };
  const [ended] = await Promise.all([
    client.do(jobOf(target, "release", 0, "held")),
    fetch(`${engineUrl}/release`, { method: "POST" }),
  ]);
  checked(target, ended);
  return cost;
}

/** One round of one target: latency, paced streams, and at last saturation, which leaves work behind. */
export async function measureRound(
  client: Client,
  target: Target,
  seconds: number,
): Promise<Round> {
  await prepare(client, target);
  const single = checked(target, await client.do(jobOf(target, "open", seconds)));
  await prepare(client, target);
  const streams = await counted(
    client,
    target,
    jobOf(target, "open", seconds * streamsLonger, "paced"),
  );
  await prepare(client, target);
  const full = await counted(client, target, jobOf(target, "closed", seconds));
  await untilCalm(target);
  return {
    requestsPerSecond: (full.result.whole * 1000) / full.result.elapsedMs,
    cpuMs: full.cpu,
    streamCpuMs: streams.cpu,
    latencyP50: quantile(single.latencyMs, 0.5),
    latencyP99: quantile(single.latencyMs, 0.99),
    firstTokenP50: quantile(streams.result.firstTokenMs, 0.5),
    perTokenP50: quantile(streams.result.perTokenMs, 0.5),
  };
}
