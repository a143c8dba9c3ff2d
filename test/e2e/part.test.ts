import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createPart } from "#dev/supervisor/part.ts";
import type { HungPolicy, Part } from "#dev/supervisor/part.ts";
import { restartPolicy } from "#dev/supervisor/restart-policy.ts";
import { survivors, until } from "./dev-process.ts";

const waitMsMax = 20_000;
/** A server that says where it listens; `PORT` is the port that it is given. */
const server = `
  const { createServer } = require("node:http");
  const server = createServer((request, response) => {
    if (request.url === "/crash") process.exit(3);
    response.end("ok");
  });
  server.listen(Number(process.env.PORT), "127.0.0.1", () => {
    const { port } = server.address();
    console.log(JSON.stringify({ event: "listening", url: "http://127.0.0.1:" + port }));
  });`;

/** Says where it listens, and never answers. */
const silentAfterReady = server.replace('response.end("ok");', "");

let folder: string;
let messages: string[];
let parts: Part[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-part-"));
  messages = [];
  parts = [];
});
afterEach(() => {
  for (const part of parts) part.kill();
  rmSync(folder, { recursive: true, force: true });
});

/** Looks so often that a test need not wait. */
const hung: HungPolicy = { looksMax: 3, lookMs: 100, timeoutMs: 100 };

function aPart(code: string, changes: { livePath?: string; stopMs?: number } = {}): Part {
  const part = createPart(
    {
      name: "the part",
      logPath: join(folder, "part.log"),
      args: () => ["-e", code],
      environment: (port) => ({ PORT: String(port) }),
      readyPath: null,
      livePath: changes.livePath ?? null,
      stopMs: changes.stopMs ?? 1_000,
    },
    { onMessage: (message) => messages.push(message), onChange: () => undefined },
    { ...restartPolicy, delayMsMin: 10, delayMsMax: 20 },
    hung,
  );
  parts.push(part);
  return part;
}

async function crash(part: Part): Promise<void> {
  await fetch(`${part.url}/crash`).catch(() => undefined);
}

describe("a part of npm run dev", () => {
  test("comes back on its port after a crash, and tells its exit and last lines", async () => {
    const part = aPart(server);
    await part.start();
    const { url, pid } = part;
    await crash(part);
    expect(await until(() => messages.some((one) => one.includes("runs again")), waitMsMax)).toBe(
      true,
    );
    expect(messages[0]).toMatch(/^the part ended \(exit code 3\); restarting in .* Last lines:\n/);
    expect(messages[0]).toContain('"listening"');
    expect(part.url).toBe(url);
    expect(part.pid).not.toBe(pid);
    expect(await (await fetch(url)).text()).toBe("ok");
  });

  test("is given up loudly after ten crashes within a minute", async () => {
    const part = aPart(`${server} setTimeout(() => process.exit(4), 50);`);
    await part.start();
    expect(await until(() => messages.some((one) => one.startsWith("GIVEN UP")), waitMsMax)).toBe(
      true,
    );
    expect(messages.filter((one) => one.includes("ended (exit code 4)"))).toHaveLength(10);
    expect(part.pid).toBeUndefined();
  });

  test("that ends at its start is a refusal with its last lines", async () => {
    const part = aPart('console.error("no configuration"); process.exit(2);');
    await expect(part.start()).rejects.toThrow(/exit code 2[\s\S]*no configuration/);
  });

  test("that ignores SIGTERM is killed, with what it started itself", async () => {
    const stubborn = `
      process.on("SIGTERM", () => undefined);
      require("node:child_process").spawn(process.execPath, ["-e", "setInterval(() => 0, 1000)"]);
      ${server}`;
    const part = aPart(stubborn, { stopMs: 200 });
    await part.start();
    const pid = part.pid ?? 0;
    expect(await until(() => survivors([pid]).length === 2, waitMsMax)).toBe(true);
    await part.stop();
    expect(survivors([pid])).toStrictEqual([]);
  });

  test("leaves no child of its own behind when it is killed", async () => {
    const parent = `
      require("node:child_process").spawn(process.execPath, ["-e", "setInterval(() => 0, 1000)"]);
      ${server}`;
    const part = aPart(parent);
    await part.start();
    const pid = part.pid ?? 0;
    expect(await until(() => survivors([pid]).length === 2, waitMsMax)).toBe(true);
    process.kill(pid, "SIGKILL");
    expect(await until(() => messages.some((one) => one.includes("runs again")), waitMsMax)).toBe(
      true,
    );
    expect(survivors([pid])).toStrictEqual([]);
  });

  test("that answers nothing and writes nothing any more is killed and started again", async () => {
    const part = aPart(silentAfterReady, { livePath: "/live" });
    await part.start();
    const isTold = () => messages.some((one) => one.includes("it answered nothing any more"));
    expect(await until(isTold, waitMsMax)).toBe(true);
  });

  test("that answers late but writes is left to its work", async () => {
    const busy = `${silentAfterReady} setInterval(() => console.log("busy"), 20);`;
    const part = aPart(busy, { livePath: "/live" });
    await part.start();
    const { pid } = part;
    // Three times what a silent part has.
    expect(await until(() => messages.length > 0, 2_000)).toBe(false);
    expect(part.pid).toBe(pid);
  });

  test("is not restarted while it is being stopped", async () => {
    const part = aPart(server);
    await part.start();
    await Promise.all([part.stop(), part.stop()]);
    expect(messages).toStrictEqual([]);
    expect(part.pid).toBeUndefined();
  });
});
