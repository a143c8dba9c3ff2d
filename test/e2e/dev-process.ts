import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as z from "zod";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** A cold start on a loaded machine with 2 cores takes half a minute. */
const startMsMax = 150_000;
const pollMs = 100;

const pid = z.int().min(2);
/** dev.json as docs/architecture.md promises it; strict, so that a renamed field shows. */
const devFileSchema = z.strictObject({
  edge: z.strictObject({
    url: z.url(),
    pid: pid.optional(),
    hostnames: z.record(z.string(), z.string()),
  }),
  keys: z.record(z.string(), z.string()),
  cells: z.array(
    z.strictObject({
      id: z.string(),
      jurisdiction: z.string(),
      region: z.string(),
      url: z.url(),
      pid: pid.optional(),
    }),
  ),
  shards: z.array(
    z.strictObject({
      id: z.string(),
      cell: z.string(),
      model: z.string(),
      url: z.url(),
      pid: pid.optional(),
    }),
  ),
  databases: z.array(z.strictObject({ region: z.string(), url: z.string(), pid: pid.optional() })),
  health: z.strictObject({ url: z.url(), token: z.string(), pid: pid.optional() }),
});
/** What runs where. */
export type DevFile = z.infer<typeof devFileSchema>;

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** A running `npm run dev`. */
export interface DevProcess {
  readonly statePath: string;
  /** Everything it wrote so far. */
  output(): string;
  /** The present dev.json. */
  file(): DevFile;
  /** The process id of the supervisor itself, below npm. */
  supervisorPid(): number;
  signal(signal: NodeJS.Signals): void;
  readonly ended: Promise<Ended>;
}

const started = new Set<ChildProcess>();

function launch(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const child = spawn("npm", ["run", "-s", ...args], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  started.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (piece: string) => {
      output += piece;
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.once("close", (code) => {
      started.delete(child);
      resolve({ code, output });
    });
  });
  return { child, ended, output: () => output };
}

/** Runs a script of package.json to its end. */
export async function runScript(
  args: readonly string[],
  options: {
    readonly input?: string;
    readonly environment?: Readonly<Record<string, string>>;
  } = {},
): Promise<Ended> {
  const { child, ended } = launch(args, options.environment);
  child.stdin.end(options.input ?? "");
  return ended;
}

/** Starts `npm run dev` on free ports and waits until it has written dev.json. @throws Error with its output when it does not. */
export async function startDev(statePath: string, ...more: readonly string[]): Promise<DevProcess> {
  const args = ["dev", "--", "--state", statePath, "--port", "0", ...more];
  const { child, ended, output } = launch(args);
  const path = join(statePath, "dev.json");
  const file = (): DevFile => devFileSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  const running: DevProcess = {
    statePath,
    output,
    file,
    supervisorPid: () => Number(readFileSync(join(statePath, "supervisor.pid"), "utf8")),
    signal: (signal) => process.kill(running.supervisorPid(), signal),
    ended,
  };
  const isReady = await until(
    () => output().includes("Ctrl-C stops") || child.exitCode !== null,
    startMsMax,
  );
  if (!isReady || child.exitCode !== null)
    throw new Error(`npm run dev did not start:\n${output()}`);
  return running;
}

/** Kills what tests left behind. */
export function killAll(running: readonly DevProcess[]): void {
  for (const one of running) {
    try {
      if (existsSync(join(one.statePath, "supervisor.pid"))) one.signal("SIGKILL");
    } catch {
      // It has ended.
    }
  }
  for (const child of started) child.kill("SIGKILL");
}

/** Polls until `isTrue`; false when `msMax` passed first. */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  msMax: number,
): Promise<boolean> {
  const deadlineMs = Date.now() + msMax;
  while (Date.now() < deadlineMs) {
    if (await isTrue()) return true;
    await wait(pollMs);
  }
  return false;
}

/** The process ids in a dev.json. Each leads a process group of its own. */
export function pidsOf(file: DevFile): readonly number[] {
  const parts = [file.edge, file.health, ...file.cells, ...file.shards, ...file.databases];
  return parts.flatMap((part) => (part.pid === undefined ? [] : [part.pid]));
}

/** The processes of the groups that `leaders` lead and that still run; dead ones that nobody has buried do not count. */
export function survivors(leaders: readonly number[]): readonly number[] {
  if (!existsSync("/proc/self/stat")) return leaders.filter(isGroup);
  return readdirSync("/proc").flatMap((name) => {
    const [state, , group] = statusOf(name);
    const isLeft = state !== undefined && state !== "Z" && leaders.includes(Number(group));
    return isLeft ? [Number(name)] : [];
  });
}

function isGroup(leader: number): boolean {
  try {
    return process.kill(-leader, 0);
  } catch {
    return false;
  }
}

/** State, parent and group of a process (proc(5)); empty for what is none. */
function statusOf(name: string): readonly string[] {
  if (!/^[0-9]+$/.test(name)) return [];
  try {
    const text = readFileSync(`/proc/${name}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return [];
  }
}

/** GET with a Host header of one's own, which fetch does not send. */
export async function getWithHost(
  url: string,
  host: string,
  key: string,
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const headers = { host, authorization: `Bearer ${key}` };
    get(url, { headers }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => {
        body += piece;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    }).on("error", reject);
  });
}
