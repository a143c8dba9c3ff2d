import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A refusal that a user can act on; its text is all that is shown. */
export class StartError extends Error {}

/** The marker that says that a folder is ours to empty. */
const marker = "meridian-state.json";
const lock = "supervisor.pid";
/** Everything that `npm run dev` writes into its folder; `--fresh` removes nothing else. */
const ownNames = [
  "cells",
  "databases",
  "dev.json",
  "edge",
  "edge.env",
  "health",
  "logs",
  "receipt-keys.json",
  "secrets.json",
  "topology.json",
  "wrangler-logs",
] as const;
type OwnName = (typeof ownNames)[number];

/** The state folder of a running supervisor. */
export interface StateFolder {
  readonly path: string;
  /** The path of one of the things that are kept in it. */
  file(name: OwnName): string;
  /** Lets another supervisor use the folder. */
  release(): void;
}

/**
 * Takes the folder for this process. With `isFresh` what an earlier run kept is removed, but only from a folder that
 * `npm run dev` made.
 * @throws StartError when another supervisor runs there, or when it is to be emptied and is not ours.
 */
export function openStateFolder(path: string, isFresh: boolean): StateFolder {
  mkdirSync(path, { recursive: true });
  const lockPath = join(path, lock);
  const names = readdirSync(path).filter((name) => name !== "receipt-keys.json");
  const isOurs = existsSync(join(path, marker)) || names.length === 0;
  if (isFresh && !isOurs)
    throw new StartError(
      `--fresh: ${path} holds files that npm run dev did not write; nothing was removed.`,
    );
  takeLock(lockPath, path);
  if (isFresh)
    for (const name of ownNames) rmSync(join(path, name), { recursive: true, force: true });
  writeFileSync(join(path, marker), `${JSON.stringify({ v: 1 })}\n`);
  return {
    path,
    file: (name) => join(path, name),
    release: () => rmSync(lockPath, { force: true }),
  };
}

function takeLock(lockPath: string, path: string): void {
  for (const isLast of [false, true]) {
    try {
      writeFileSync(lockPath, String(process.pid), { flag: "wx" });
      return;
    } catch (error) {
      if (!(error instanceof Error) || !("code" in error) || error.code !== "EEXIST") throw error;
      const pid = Number(readFileSync(lockPath, "utf8"));
      if (isLast || isSupervisor(pid))
        throw new StartError(
          `npm run dev already runs with the state folder ${path} (process ${pid}). Stop it, or choose another with --state DIR and --port N.`,
        );
      // Left behind by a supervisor that was killed.
      rmSync(lockPath, { force: true });
    }
  }
}

function isSupervisor(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  try {
    // The number may have gone to another program since; where /proc exists it tells.
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("dev/index.ts");
  } catch {
    return !existsSync("/proc/self/cmdline");
  }
}
