import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { readDevFile } from "../../supervisor/dev-file.ts";
import type { DevFile } from "../../supervisor/dev-file.ts";
import { readTopologyFile } from "../../supervisor/topology-file.ts";
import type { DrilledSystem } from "./drilled-system.ts";
import { SystemError } from "./drilled-system.ts";
import { drillTopology } from "./drill-topology.ts";
import type { DrillPlatform } from "./drill-topology.ts";
import { partsOf, processesOf } from "./processes.ts";

const model = "sim/llama-3.1-8b-instruct";
const jurisdiction = "eu";
/** A cold start on a loaded machine with two cores takes half a minute. */
const startMsMax = 150_000;
/** The supervisor gives its slowest part 10 s. */
const stopMsMax = 40_000;
const pollMs = 100;
/** Of the supervisor's output, for a report of a failed start. */
const outputCharactersMax = 4_000;

/**
 * Starts `npm run dev`'s supervisor with a state folder of its own and free ports, with the drills' shards and tenants.
 * `onMessage` gets what the supervisor says once it runs: parts that ended, errors. However the drill ends, the system ends with it: it holds the other end of the supervisor's standard input.
 * @throws SystemError with the supervisor's output when it does not start.
 */
export async function startOwnSystem(
  root: string,
  platform: DrillPlatform | null,
  onMessage: (line: string) => void,
  signal: AbortSignal,
): Promise<DrilledSystem> {
  const folder = mkdtempSync(join(tmpdir(), "meridian-drill-"));
  const { file, flows } = drillTopology(
    readTopologyFile(join(root, "topology.jsonc")).file,
    model,
    platform,
  );
  const topologyPath = join(folder, "topology.json");
  writeFileSync(topologyPath, JSON.stringify(file), { mode: 0o600 });
  const statePath = join(folder, "state");
  const devPath = join(statePath, "dev.json");
  const args = ["--import", join(root, "dev/supervisor/exit-with-parent.ts")];
  const options = ["--topology", topologyPath, "--state", statePath, "--port", "0"];
  const child = spawn(process.execPath, [...args, join(root, "dev/index.ts"), ...options], {
    cwd: root,
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  let last: DevFile | null = null;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (piece: string) => {
      output = (output + piece).slice(-outputCharactersMax);
      if (last !== null) onMessage(piece.trimEnd());
    });
  }
  child.stdin.on("error", () => undefined);
  child.on("error", () => undefined);
  const leaders = new Map<number, string>();

  /** The present dev.json, or the last one; the processes in it are remembered, so that none is forgotten at the end. */
  function learn(): DevFile | null {
    if (child.pid !== undefined) leaders.set(child.pid, "supervisor");
    if (!existsSync(devPath)) return last;
    last = readDevFile(devPath);
    for (const { name, pid } of partsOf(last)) leaders.set(pid, name);
    return last;
  }

  async function stop(): Promise<readonly string[]> {
    learn();
    if (isRunning(child)) child.kill("SIGINT");
    await waitFor(() => !isRunning(child), stopMsMax);
    const left = processesOf(new Set(leaders.keys()));
    // What the supervisor should have ended is reported, and ended.
    for (const { pid } of left) endProcess(pid);
    rmSync(folder, { recursive: true, force: true });
    return left.map(({ pid, group }) => `${leaders.get(group) ?? "?"} (process ${pid})`);
  }

  await waitFor(() => existsSync(devPath) || !isRunning(child) || signal.aborted, startMsMax);
  if (signal.aborted) {
    await stop();
    throw new SystemError(String(signal.reason));
  }
  if (learn() === null) {
    await stop();
    throw new SystemError(`npm run dev did not start:\n${output}`);
  }
  return {
    description: `an own system of ${Object.keys(file.cells).length} cells and ${Object.keys(file.shards).length} shards`,
    file: () => learn() ?? readDevFile(devPath),
    flows,
    model,
    jurisdiction,
    scalesToZero: platform !== null,
    isSupervisorAlive: () => isRunning(child),
    keepLogs: (path) => cpSync(join(statePath, "logs"), path, { recursive: true }),
    stop,
  };
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function waitFor(isTrue: () => boolean, msMax: number): Promise<void> {
  const until = performance.now() + msMax;
  while (!isTrue() && performance.now() < until) await wait(pollMs);
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended meanwhile.
  }
}
