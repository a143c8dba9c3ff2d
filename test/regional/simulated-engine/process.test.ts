import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { describe, it, onTestFinished } from "vitest";
import { aChat, post } from "./support.ts";

function run(...args: string[]): ChildProcess {
  const child = spawn(process.execPath, ["dev/simulated-engine/index.ts", ...args], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

async function listening(
  child: ChildProcess,
): Promise<{ event: string; url: string; pid: number }> {
  if (child.stdout === null) throw new Error("no standard output");
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return JSON.parse(line) as { event: string; url: string; pid: number };
}

describe("the engine process", () => {
  it("says where it listens, answers, and ends cleanly on SIGTERM with a stream open", async ({
    expect,
  }) => {
    const child = run("--port", "0", "--profile", "h100-8b");
    const line = await listening(child);
    expect(line).toMatchObject({ event: "listening", pid: child.pid });
    expect(line.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/u);
    const response = await post(`${line.url}/chat/completions`, aChat(5_000, { stream: true }));
    expect(response.status).toBe(200);
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    await response.body?.cancel().catch(() => undefined);
  });
  it("ends with its parent", async ({ expect }) => {
    const child = run("--exit-with-parent");
    await listening(child);
    const ended = once(child, "exit");
    child.stdin?.end();
    expect(await ended).toEqual([0, null]);
  });
  it("crashes on demand with exit code 1", async ({ expect }) => {
    const child = run();
    const { url } = await listening(child);
    const ended = once(child, "exit");
    await post(url.replace("/v1", "/control/crash"), {}).catch(() => undefined);
    expect(await ended).toEqual([1, null]);
  });
  it("refuses unknown flags with a clear message and exit code 2", async ({ expect }) => {
    const child = run("--nonsense");
    let text = "";
    child.stderr?.on("data", (part) => (text += String(part)));
    expect(await once(child, "close")).toEqual([2, null]);
    expect(text).toContain("--nonsense");
  });
  it("says when its port is taken and ends with exit code 1", async ({ expect }) => {
    const first = run();
    const { url } = await listening(first);
    const second = run("--port", new URL(url).port);
    let text = "";
    second.stderr?.on("data", (part) => (text += String(part)));
    expect(await once(second, "close")).toEqual([1, null]);
    expect(text).toContain("EADDRINUSE");
  });
});
