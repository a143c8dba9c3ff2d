import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import * as z from "zod";
import { openPartLog } from "./part-log.ts";
import type { PartLog } from "./part-log.ts";
import { nextRestart, restartPolicy } from "./restart-policy.ts";
import type { RestartPolicy } from "./restart-policy.ts";
import { StartError } from "./state-folder.ts";

/** How long a part may take to serve; loaded machines start a wrangler in half a minute. */
const startMsMax = 90_000;
const readyPollMs = 100;
const readyTimeoutMs = 2_000;
/** When a part that serves and then answers nothing is hung: its own children may be gone. */
export interface HungPolicy {
  /** Looks in a row without an answer, and without a line from the part: one that writes works, however slowly. */
  readonly looksMax: number;
  readonly lookMs: number;
  readonly timeoutMs: number;
}

const hungPolicy: HungPolicy = { looksMax: 3, lookMs: 2_000, timeoutMs: 3_000 };
/** How long killed processes are waited for. */
const killMsMax = 2_000;
const groupPollMs = 20;

/** The line that a part prints when it serves. */
const listeningSchema = z.looseObject({ event: z.literal("listening"), url: z.string() });

/** How to run a part and to know that it serves. */
export interface PartSpecification {
  /** Shown to the user, for example `eu-west-1a/llama-0`. */
  readonly name: string;
  readonly logPath: string;
  /** Arguments of Node. `port` is 0 at the first start, and the port of the first start after a crash. */
  readonly args: (port: number) => readonly string[];
  readonly environment: (port: number) => Readonly<Record<string, string>>;
  /** The URL where it serves, when it prints no line that tells. */
  readonly url?: string;
  /** A path below the origin of its URL that answers 200 when it is ready; null when listening is enough. */
  readonly readyPath: string | null;
  /** A path that is asked every 2 s; when it stays silent and the part writes nothing, the part is restarted. Null: its process tells enough. */
  readonly livePath: string | null;
  /** How long it may go on after SIGTERM, ms. */
  readonly stopMs: number;
}

/** What a part tells its supervisor. */
export interface PartListeners {
  /** Something that a user should read. */
  readonly onMessage: (message: string) => void;
  /** It serves again, under another process id. */
  readonly onChange: () => void;
}

/** A process that is kept running. */
export interface Part {
  readonly name: string;
  /** Where it serves; empty before its first start. */
  readonly url: string;
  /** Undefined while it does not run. */
  readonly pid: number | undefined;
  /** Every line of its standard output that was a listening line, the last one. */
  readonly announcement: Readonly<Record<string, unknown>>;
  /** Starts it and waits until it is ready. @throws StartError when it ends or is not ready in time. */
  start(): Promise<void>;
  /** Ends it: SIGTERM, then SIGKILL to its whole group. */
  stop(): Promise<void>;
  /** SIGKILL to its whole group, at once. */
  kill(): void;
}

/** Makes a part; nothing runs before `start`. After a successful start a crash restarts it, on the same port. */
export function createPart(
  specification: PartSpecification,
  listeners: PartListeners,
  policy: RestartPolicy = restartPolicy,
  hung: HungPolicy = hungPolicy,
): Part {
  const { name } = specification;
  const ending = new AbortController();
  const crashesAtMs: number[] = [];
  let child: ChildProcess | null = null;
  let url = specification.url ?? "";
  let announcement: Record<string, unknown> = {};
  let log: PartLog | null = null;
  let onAnnounced: () => void = () => undefined;
  /** Why the supervisor ended the process itself, for the report. */
  let hungReason: string | null = null;

  let hasWritten = false;

  function onLine(line: string): void {
    hasWritten = true;
    if (!line.startsWith("{")) return;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return;
    }
    const parsed = listeningSchema.safeParse(value);
    if (!parsed.success) return;
    announcement = parsed.data;
    url = parsed.data.url;
    onAnnounced();
  }

  function launch(): ChildProcess {
    const port = url === "" ? 0 : Number(new URL(url).port);
    log ??= openPartLog(specification.logPath, {
      onLine,
      onError: (line) => listeners.onMessage(`${name}: ${line}`),
    });
    const started = spawn(process.execPath, specification.args(port), {
      env: { ...inheritedEnvironment(), ...specification.environment(port) },
      stdio: ["pipe", "pipe", "pipe"],
      // The leader of its own group: Ctrl-C reaches the supervisor alone, which ends the parts in order.
      detached: true,
    });
    started.stdin.on("error", () => undefined);
    started.on("error", () => undefined);
    log.follow(started.stdout, "stdout");
    log.follow(started.stderr, "stderr");
    child = started;
    return started;
  }

  /** Runs it until it is ready; false when it ended first or time ran out. */
  async function launchUntilReady(): Promise<boolean> {
    const isAnnouncing = specification.url === undefined;
    const announced = new Promise<void>((resolve) => {
      onAnnounced = resolve;
    });
    const started = launch();
    const gone = new AbortController();
    started.once("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(startMsMax)]);
    const stopped = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    if (isAnnouncing) await Promise.race([announced, stopped]);
    if (specification.readyPath !== null && !signal.aborted) await waitReady(signal);
    return !signal.aborted;
  }

  async function waitReady(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if ((await look(specification.readyPath ?? "/", readyTimeoutMs)) === 200) return;
      await wait(readyPollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async function look(path: string, timeoutMs: number): Promise<number | null> {
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await fetch(new URL(path, url), { signal, redirect: "manual" });
      await response.arrayBuffer();
      return response.status;
    } catch {
      return null;
    }
  }

  /** Watches a running process: its end, and its silence. */
  function watch(): void {
    const watched = child;
    if (watched === null) return;
    if (watched.exitCode !== null || watched.signalCode !== null) return void restart();
    watched.once("close", () => void restart());
    void watchAnswers(watched);
  }

  async function watchAnswers(watched: ChildProcess): Promise<void> {
    const { livePath } = specification;
    let silent = 0;
    while (livePath !== null && watched === child && !ending.signal.aborted) {
      hasWritten = false;
      await wait(hung.lookMs, undefined, { signal: ending.signal }).catch(() => undefined);
      const isSilent = (await look(livePath, hung.timeoutMs)) === null && !hasWritten;
      silent = isSilent ? silent + 1 : 0;
      if (silent < hung.looksMax || watched !== child || ending.signal.aborted) continue;
      hungReason = "it answered nothing any more";
      killGroup(watched);
      return;
    }
  }

  async function restart(): Promise<void> {
    const ended = child;
    if (ended === null || ending.signal.aborted) return;
    // What it started itself, such as wrangler's workerd, holds its port.
    killGroup(ended);
    child = null;
    crashesAtMs.push(Date.now());
    while (crashesAtMs.length > policy.crashesMax) crashesAtMs.shift();
    const step = nextRestart(crashesAtMs, Date.now(), policy);
    const reason = hungReason ?? describeEnd(ended);
    hungReason = null;
    const lines = log?.lastLines(5) ?? [];
    const what = step.kind === "restart" ? `restarting in ${step.delayMs / 1_000} s` : "given up";
    listeners.onMessage([`${name} ended (${reason}); ${what}. Last lines:`, ...lines].join("\n"));
    listeners.onChange();
    if (step.kind === "give-up") {
      const where = `its log is ${specification.logPath}`;
      listeners.onMessage(
        `GIVEN UP: ${name} ended ${step.crashes} times within a minute; ${where}. The rest goes on.`,
      );
      return;
    }
    await wait(step.delayMs, undefined, { signal: ending.signal }).catch(() => undefined);
    if (ending.signal.aborted) return;
    const isReady = await launchUntilReady();
    if (ending.signal.aborted) return;
    if (isReady) {
      listeners.onMessage(`${name} runs again.`);
      listeners.onChange();
    } else if (child !== null && isRunning(child)) {
      hungReason = `not ready within ${startMsMax / 1_000} s`;
      killGroup(child);
    }
    watch();
  }

  return {
    name,
    get url() {
      return url;
    },
    get pid() {
      return child !== null && isRunning(child) ? child.pid : undefined;
    },
    get announcement() {
      return announcement;
    },
    async start() {
      const isReady = await launchUntilReady();
      if (ending.signal.aborted) throw new StartError(`${name} was stopped while starting.`);
      if (isReady) return watch();
      const reason = child !== null && !isRunning(child) ? describeEnd(child) : "not ready in time";
      const lines = log?.lastLines(8) ?? [];
      throw new StartError([`${name} did not start (${reason}).`, ...lines].join("\n"));
    },
    async stop() {
      ending.abort();
      const stopping = child;
      if (stopping !== null && isRunning(stopping)) {
        const closed = once(stopping, "close").then(() => undefined);
        stopping.kill("SIGTERM");
        await Promise.race([closed, wait(specification.stopMs, undefined, { ref: false })]);
        killGroup(stopping);
        await Promise.race([closed, wait(killMsMax, undefined, { ref: false })]);
      }
      if (stopping !== null) await buryGroup(stopping);
      log?.close();
    },
    kill() {
      ending.abort();
      if (child !== null) killGroup(child);
    },
  };
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

/** False when nothing of the group is left. */
function killGroup({ pid }: ChildProcess): boolean {
  if (pid === undefined) return false;
  try {
    return process.kill(-pid, "SIGKILL");
  } catch {
    return false;
  }
}

/** Kills what is left of a group and waits until it is gone, for `killMsMax` at most. */
async function buryGroup(child: ChildProcess): Promise<void> {
  const deadlineMs = Date.now() + killMsMax;
  while (killGroup(child) && Date.now() < deadlineMs) await wait(groupPollMs);
}

function describeEnd({ exitCode, signalCode, pid }: ChildProcess): string {
  if (pid === undefined) return "it could not be started";
  return signalCode === null ? `exit code ${exitCode}` : `signal ${signalCode}`;
}

/** What every part inherits. Nothing else: a part must not find settings or credentials that it was not given. */
function inheritedEnvironment(): Record<string, string> {
  const names = ["PATH", "HOME", "TMPDIR", "TMP", "TEMP", "LANG", "SystemRoot", "APPDATA"];
  const found: Record<string, string> = {};
  for (const name of names) {
    const value = process.env[name];
    if (value !== undefined) found[name] = value;
  }
  return found;
}
