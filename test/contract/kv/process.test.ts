import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as z from "zod";

const script = fileURLToPath(new URL("../../../dev/upstash/index.ts", import.meta.url));
const flags = ["--port", "0", "--regions", "eu-west-1", "--token", "T", "--read-only-token", "R"];
const listening = z.strictObject({
  event: z.literal("listening"),
  url: z.url(),
  regions: z.record(z.string(), z.url()),
  pid: z.int(),
});

let folder: string;
let children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-upstash-"));
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children = [];
  rmSync(folder, { recursive: true, force: true });
});

function start(...more: string[]) {
  const child = spawn(process.execPath, [script, ...flags, ...more], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  return child;
}

async function lineOf(child: ReturnType<typeof start>) {
  const [piece] = await once(child.stdout, "data");
  return listening.parse(JSON.parse(String(piece)));
}

async function failureOf(child: ReturnType<typeof start>) {
  let message = "";
  child.stderr.on("data", (piece: Buffer) => (message += piece.toString("utf8")));
  const [code] = await once(child, "close");
  return { code, message };
}

async function run(url: string, ...command: string[]): Promise<unknown> {
  const headers = { authorization: "Bearer T" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(command) });
  return response.json();
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("the server as a process", () => {
  test("says where it listens, and ends with code 0 on SIGTERM", async () => {
    const child = start();
    const line = await lineOf(child);
    expect(line.pid).toBe(child.pid);
    expect(line.regions).toEqual({ "eu-west-1": `${line.url}/regions/eu-west-1` });
    expect(await run(line.url, "PING")).toEqual({ result: "PONG" });
    child.kill("SIGTERM");
    const [code] = await once(child, "exit");
    expect(code).toBe(0);
  });

  test("a second start has the state of the first, in the replicas too", async () => {
    const file = join(folder, "deeper", "kv.json");
    const first = start("--data", file);
    const before = await lineOf(first);
    await run(before.url, "SET", "k", "\0ó");
    await run(before.url, "SET", "short", "v", "PX", "1");
    await run(before.url, "HSET", "h", "f", "1");
    await run(before.url, "SADD", "s", "m");
    first.kill("SIGTERM");
    await once(first, "exit");
    const { url, regions } = await lineOf(start("--data", file));
    const inRegion = regions["eu-west-1"] ?? "";
    for (const base of [url, inRegion]) {
      expect(await run(base, "MGET", "k", "short")).toEqual({ result: ["\0ó", null] });
      expect(await run(base, "HGETALL", "h")).toEqual({ result: ["f", "1"] });
      expect(await run(base, "SMEMBERS", "s")).toEqual({ result: ["m"] });
    }
  });

  test("the snapshot follows a write without waiting for the end", async () => {
    const file = join(folder, "kv.json");
    const child = start("--data", file);
    const { url } = await lineOf(child);
    await run(url, "SET", "k", "v");
    await expect
      .poll(() => readFileSync(file, { encoding: "utf8", flag: "a+" }), { timeout: 5000 })
      .toContain('"k"');
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(await run((await lineOf(start("--data", file))).url, "GET", "k")).toEqual({
      result: "v",
    });
  });

  test("wrong flags end it with code 2 and the reason", async () => {
    expect(await failureOf(start("--bogus"))).toEqual({
      code: 2,
      message: expect.stringContaining("--bogus"),
    });
  });

  test("a snapshot that is none ends it with code 1 and the file's name, and is left as it was", async () => {
    const file = join(folder, "kv.json");
    writeFileSync(file, '{"v":1,"keys":[{}]}');
    expect(await failureOf(start("--data", file))).toEqual({
      code: 1,
      message: expect.stringContaining(file),
    });
    expect(readFileSync(file, "utf8")).toBe('{"v":1,"keys":[{}]}');
  });

  test("a taken port ends it with code 1 and the port", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = z.object({ port: z.int() }).parse(holder.address());
    const failure = await failureOf(start("--port", String(port)));
    holder.close();
    expect(failure).toEqual({ code: 1, message: expect.stringContaining(String(port)) });
  });

  test("with --exit-with-parent it ends after its parent was killed", async () => {
    const source = `require("node:child_process").spawn(process.execPath, ${JSON.stringify([script, ...flags, "--exit-with-parent"])}, { stdio: "inherit" })`;
    const parent = spawn(process.execPath, ["-e", source], { stdio: ["ignore", "pipe", "pipe"] });
    children.push(parent);
    const { pid } = await lineOf(parent);
    expect(isAlive(pid)).toBe(true);
    parent.kill("SIGKILL");
    try {
      await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
    } finally {
      if (isAlive(pid)) process.kill(pid, "SIGKILL");
    }
  });
});
