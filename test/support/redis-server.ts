import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** A redis-server of one test file, without persistence. */
export interface RedisServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** Where the binary is, or undefined when PATH has none. */
export function findRedisServer(path = process.env["PATH"] ?? ""): string | undefined {
  return path
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, "redis-server"))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Another process may take the port between the look and the start; that it does so three times is no accident. */
const startsMax = 3;
const startTimeoutMs = 10_000;

/** Starts the binary on a free port of 127.0.0.1 with a temporary folder. @throws Error with its output when it does not start. */
export async function startRedisServer(binary: string): Promise<RedisServer> {
  let lastError: unknown;
  for (let start = 0; start < startsMax; start += 1) {
    try {
      return await startOnce(binary, await freePort());
    } catch (error) {
      lastError = error;
    }
  }
  throw lastError;
}

async function startOnce(binary: string, port: number): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), "meridian-redis-"));
  const flags = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder];
  const server = spawn(binary, [...flags, "--save", "", "--appendonly", "no"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise<void>((resolve) => {
    server.once("exit", () => resolve());
    server.once("error", () => resolve());
  });
  const killWithUs = (): void => void server.kill("SIGKILL");
  process.once("exit", killWithUs);
  const stop = async (): Promise<void> => {
    server.kill("SIGTERM");
    await exited;
    process.removeListener("exit", killWithUs);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await ready(server, exited);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `redis://127.0.0.1:${port}`, stop };
}

async function ready(child: ChildProcess, exited: Promise<void>): Promise<void> {
  let output = "";
  const isReady = new Promise<boolean>((resolve) => {
    const take = (piece: Buffer): void => {
      output += piece.toString("utf8");
      if (output.includes("Ready to accept connections")) resolve(true);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    void exited.then(() => resolve(false));
    setTimeout(() => resolve(false), startTimeoutMs).unref();
  });
  if (!(await isReady)) throw new Error(`redis-server did not start:\n${output}`);
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
