import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** A PostgreSQL of one test file in a temporary folder, without fsync. */
export interface PostgresServer {
  readonly url: string;
  readonly port: number;
  /** Stops it as a crash would: no checkpoint, no farewell to clients. */
  crash(): Promise<void>;
  /** Starts it again on the same port and folder. */
  start(): Promise<void>;
  /** Stops it and removes its folder. */
  stop(): Promise<void>;
}

const startTimeoutMs = 30_000;
/** Another process may take the port between the look and the start; that it does so three times is no accident. */
const startsMax = 3;

/** The folder that holds `initdb` and `postgres`, in PATH or where Debian puts them; undefined when there is none. */
export function findPostgres(path = process.env["PATH"] ?? ""): string | undefined {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian)
    ? readdirSync(debian).sort((a, b) => Number(b) - Number(a))
    : [];
  return [...path.split(delimiter), ...versions.map((version) => join(debian, version, "bin"))]
    .filter((folder) => folder !== "")
    .find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")));
}

/**
 * Makes a cluster and starts it on a free port of 127.0.0.1. As root it runs as the user `postgres`, since PostgreSQL
 * refuses root. @throws Error with its output when it does not start.
 */
export async function startPostgresServer(binaries: string): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), "meridian-postgres-"));
  const owner = processOwner();
  if (owner.uid !== undefined && owner.gid !== undefined) chownSync(folder, owner.uid, owner.gid);
  const data = join(folder, "data");
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  const flags = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"];
  const made = spawnSync(join(binaries, "initdb"), [...flags, "--no-sync"], {
    ...owner,
    cwd: folder,
    encoding: "utf8",
  });
  if (made.status !== 0) {
    removeFolder();
    throw new Error(`initdb failed:\n${made.stderr}`);
  }
  let server: RunningServer | undefined;
  let port = 0;
  for (let start = 1; server === undefined; start += 1) {
    port = await freePort();
    try {
      server = await run(binaries, folder, port);
    } catch (error) {
      if (start < startsMax) continue;
      removeFolder();
      throw error;
    }
  }
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    port,
    crash: async () => {
      // SIGQUIT is PostgreSQL's immediate shutdown; it takes its backends with it, which SIGKILL would leave.
      await server?.end("SIGQUIT");
      server = undefined;
    },
    start: async () => {
      server ??= await run(binaries, folder, port);
    },
    stop: async () => {
      await server?.end("SIGQUIT");
      server = undefined;
      removeFolder();
    },
  };
}

interface RunningServer {
  end(signal: NodeJS.Signals): Promise<void>;
}

async function run(binaries: string, folder: string, port: number): Promise<RunningServer> {
  const settings = { fsync: "off", unix_socket_directories: folder, listen_addresses: "127.0.0.1" };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = spawn(
    join(binaries, "postgres"),
    ["-D", join(folder, "data"), "-p", String(port), ...flags],
    { ...processOwner(), cwd: folder, stdio: ["ignore", "pipe", "pipe"] },
  );
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const killWithUs = (): void => void child.kill("SIGQUIT");
  process.once("exit", killWithUs);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await exited;
    process.removeListener("exit", killWithUs);
  };
  try {
    await ready(child, exited);
  } catch (error) {
    await end("SIGQUIT");
    throw error;
  }
  return { end };
}

async function ready(child: ChildProcess, exited: Promise<void>): Promise<void> {
  let output = "";
  const isReady = await new Promise<boolean>((resolve) => {
    const take = (piece: Buffer): void => {
      output += piece.toString("utf8");
      if (output.includes("ready to accept connections")) resolve(true);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    void exited.then(() => resolve(false));
    setTimeout(() => resolve(false), startTimeoutMs).unref();
  });
  if (!isReady) throw new Error(`postgres did not start:\n${output}`);
}

/** Whom to run as: the user `postgres` when we are root, else ourselves. */
function processOwner(): { readonly uid?: number; readonly gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const line = readFileSync("/etc/passwd", "utf8").match(/^postgres:[^:]*:(\d+):(\d+):/m);
  if (line === null)
    throw new Error("PostgreSQL refuses to run as root and there is no user postgres");
  return { uid: Number(line[1]), gid: Number(line[2]) };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => {
    probe.listen(0, "127.0.0.1", resolve);
  });
  const address = probe.address();
  await new Promise<void>((resolve) => {
    probe.close(() => resolve());
  });
  if (typeof address !== "object" || address === null) throw new Error("no free port");
  return address.port;
}
