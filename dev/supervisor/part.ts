import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";

/** How a part is started; asked again at each restart, with the port it had before. */
export interface PartCommand {
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface PartOptions {
  /** For people: `cell eu-west-1a`. */
  readonly name: string;
  readonly logFile: string;
  readonly command: (port: number | null) => PartCommand;
  /** `line`: the part prints `{"event":"listening","url":…}`. Otherwise resolves when it answers. */
  readonly ready: "line" | ((signal: AbortSignal) => Promise<string>);
  readonly readyTimeoutMs: number;
  readonly onChange: () => void;
  readonly report: (message: string) => void;
  /** Told of each process group as it comes and goes, so that none outlives the supervisor. */
  readonly watch: (action: "add" | "remove", pid: number) => void;
}

/** A part of the system that is kept running. */
export interface Part {
  readonly name: string;
  url(): string;
  pid(): number;
  /** Rejects when the first start fails. */
  start(): Promise<void>;
  /** Ends the process as if it had crashed; it is restarted. */
  crash(): void;
  stop(signal: NodeJS.Signals, patienceMs: number): Promise<void>;
}

const restartDelayMsFirst = 200;
const restartDelayMsMax = 5_000;
const crashesPerMinuteMax = 10;

/** Ends a whole process group; parts are spawned as leaders of their own. */
function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // It is gone already.
  }
}

function lastLines(file: string, count: number): string {
  try {
    return readFileSync(file, "utf8").trimEnd().split("\n").slice(-count).join("\n    ");
  } catch {
    return "";
  }
}

export function createPart(options: PartOptions): Part {
  const { name, logFile, report } = options;
  let child: ChildProcess | null = null;
  let url = "";
  let isStopping = false;
  let crashTimesMs: number[] = [];
  let log: number | null = null;

  function write(text: string): void {
    log ??= openSync(logFile, "a", 0o600);
    writeSync(log, text);
  }

  function portOf(text: string): number | null {
    return text === "" ? null : Number(new URL(text).port);
  }

  /** Spawns once; resolves when the part is ready, rejects when it ends before. */
  function launch(): Promise<void> {
    const { args, environment } = options.command(portOf(url));
    const process_ = spawn(process.execPath, args, {
      env: environment,
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    child = process_;
    const { pid } = process_;
    if (pid !== undefined) options.watch("add", pid);
    process_.stdin.on("error", () => undefined);
    const readyAbort = new AbortController();
    return new Promise((resolve, reject) => {
      let isReady = false;
      const timer = setTimeout(() => {
        reject(new Error(`${name} was not ready within ${options.readyTimeoutMs / 1000} s`));
        if (pid !== undefined) killGroup(pid, "SIGKILL");
      }, options.readyTimeoutMs);
      const becomeReady = (at: string): void => {
        if (isReady) return;
        isReady = true;
        clearTimeout(timer);
        url = at;
        options.onChange();
        resolve();
      };
      createInterface({ input: process_.stdout }).on("line", (line) => {
        write(`${line}\n`);
        if (options.ready !== "line" || isReady || !line.startsWith("{")) return;
        try {
          const value = JSON.parse(line) as { event?: string; url?: string };
          if (value.event === "listening" && typeof value.url === "string") becomeReady(value.url);
        } catch {
          // Not a JSON line: it is in the log.
        }
      });
      process_.stderr.on("data", (chunk: Buffer) => write(chunk.toString("utf8")));
      if (options.ready !== "line") {
        options.ready(readyAbort.signal).then(becomeReady, () => undefined);
      }
      process_.on("error", (error) => reject(error));
      process_.on("exit", (code, signal) => {
        clearTimeout(timer);
        readyAbort.abort();
        if (pid !== undefined) {
          killGroup(pid, "SIGKILL");
          options.watch("remove", pid);
        }
        if (child === process_) child = null;
        if (isStopping) return;
        const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
        if (!isReady)
          reject(new Error(`${name} ended at its start (${how}):\n    ${lastLines(logFile, 12)}`));
        else void recover(how);
      });
    });
  }

  async function recover(how: string): Promise<void> {
    const nowMs = Date.now();
    crashTimesMs = [...crashTimesMs.filter((time) => nowMs - time < 60_000), nowMs];
    report(`${name} ended (${how}). Last lines of its log:\n    ${lastLines(logFile, 3)}`);
    if (crashTimesMs.length > crashesPerMinuteMax) {
      report(
        `${name} crashed ${crashTimesMs.length} times in a minute and is left stopped; see ${logFile}`,
      );
      return;
    }
    const delayMs = Math.min(
      restartDelayMsMax,
      restartDelayMsFirst * 2 ** (crashTimesMs.length - 1),
    );
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (isStopping) return;
    try {
      await launch();
      report(`${name} restarted (pid ${child?.pid ?? "?"})`);
    } catch (error) {
      await recover(error instanceof Error ? (error.message.split("\n")[0] ?? "") : "unknown");
    }
  }

  return {
    name,
    url: () => url,
    pid: () => child?.pid ?? 0,
    start: launch,
    crash() {
      const pid = child?.pid;
      if (pid !== undefined) killGroup(pid, "SIGKILL");
    },
    async stop(signal, patienceMs) {
      isStopping = true;
      const running = child;
      if (running?.pid === undefined) return;
      const { pid } = running;
      const ended = new Promise<void>((resolve) => {
        running.once("exit", () => resolve());
      });
      running.kill(signal);
      const timer = setTimeout(() => killGroup(pid, "SIGKILL"), patienceMs);
      await ended;
      clearTimeout(timer);
      if (log !== null) closeSync(log);
      log = null;
    },
  };
}
