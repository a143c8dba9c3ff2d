import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** Clock ticks per second in /proc; 100 on every Linux that Node supports. */
const ticksPerSecond = 100;
/** Time that a process may take to start, ms: long enough for a machine that is busy. */
const startMs = 120_000;

/** A process of the benchmark. */
export interface Started {
  readonly child: ChildProcess;
  readonly pid: number;
}

const started = new Set<ChildProcess>();

/** True when workerd can have a core of its own. */
export const isPinned =
  availableParallelism() >= 2 && spawnSync("taskset", ["--version"]).status === 0;

/** Starts a process on a core: workerd on 0, all else on 1. `control` opens descriptor 3 for reading. */
export function start(
  command: string,
  args: readonly string[],
  options: {
    readonly core: 0 | 1;
    readonly environment?: Readonly<Record<string, string>>;
    readonly third?: "pipe" | "ipc";
  },
): Started {
  const [file, ...rest] = isPinned
    ? ["taskset", "-c", String(options.core), command, ...args]
    : [command, ...args];
  const child = spawn(file ?? command, rest, {
    env: { PATH: process.env["PATH"] ?? "", ...options.environment },
    stdio: ["ignore", "pipe", "inherit", ...(options.third === undefined ? [] : [options.third])],
  });
  started.add(child);
  // Read even when nobody looks: a process whose pipe is full stops at its next line of log.
  child.stdout?.resume();
  child.on("exit", () => started.delete(child));
  if (child.pid === undefined) throw new Error(`${command} did not start`);
  return { child, pid: child.pid };
}

/** The first match of `pattern` in what the process prints. @throws when it ends or stays silent. */
export async function printed(
  { child }: Started,
  pattern: RegExp,
  descriptor: 1 | 3 = 1,
): Promise<string> {
  const stream = child.stdio[descriptor];
  if (stream === null || stream === undefined || !("on" in stream)) throw new Error("no pipe");
  return new Promise((resolve, reject) => {
    let text = "";
    const timer = setTimeout(() => reject(new Error(`no ${pattern} in: ${text}`)), startMs);
    stream.on("data", (data: Buffer) => {
      if (text.length > 100_000) return;
      text += data.toString("utf8");
      const match = pattern.exec(text)?.[1];
      if (match === undefined) return;
      clearTimeout(timer);
      resolve(match);
    });
    child.on("exit", () => reject(new Error(`ended early: ${text}`)));
  });
}

/** CPU time of a process so far, ms; steps of 10 ms. */
export function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

/** Resident memory of a process, KiB. */
export function rssKib(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** Ends every process that was started, by its pid. */
export function stopAll(): void {
  for (const child of started) child.kill("SIGKILL");
}
