import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, it, onTestFinished } from "vitest";
import { startSimulatedEngine } from "#dev/simulated-engine/start.ts";
import { aTurn, contentOf, readStream, signed, until } from "./harness.ts";

const key = "ab".repeat(32);
const model = "sim/llama-3.1-8b-instruct";

/** The cell as a process, with its output so far. */
async function aProcess(environment: Record<string, string>, engineUrl: string) {
  const folder = await mkdtemp(path.join(tmpdir(), "cell-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const topology = {
    jurisdictions: { eu: { hostnames: ["eu.localhost"], objects: "eu", regions: ["eu-west-1"] } },
    regions: { "eu-west-1": { latitude: 1, longitude: 1, database: "embedded" } },
    cells: { "eu-west-1a": { region: "eu-west-1", zone: "a", url: "http://127.0.0.1:0" } },
    models: { [model]: { revision: "0e9e39f", contextTokensMax: 4096, capabilities: ["chat"] } },
    shards: {
      "eu-west-1a/s": {
        cell: "eu-west-1a",
        model,
        backend: { kind: "simulated", url: engineUrl },
        capacity: { concurrentRequestsMax: 8, kvTokensMax: 1000 },
        purchase: "spot",
        pricePerHourMicroUsd: 1,
      },
    },
    tenants: {},
  };
  await writeFile(path.join(folder, "topology.jsonc"), `// a comment\n${JSON.stringify(topology)}`);
  const child = spawn(process.execPath, ["regional/index.ts"], {
    env: {
      PATH: process.env["PATH"] ?? "",
      MERIDIAN_TOPOLOGY: path.join(folder, "topology.jsonc"),
      MERIDIAN_CELL: "eu-west-1a",
      MERIDIAN_DATA_DIR: path.join(folder, "data"),
      CELL_SIGNING_KEYS: JSON.stringify({ current: "k1", keys: { k1: key } }),
      CACHE_SALT_KEY: key,
      ...environment,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { out: "", error: "" };
  child.stdout.on("data", (data: { toString(): string }) => (output.out += data.toString()));
  child.stderr.on("data", (data: { toString(): string }) => (output.error += data.toString()));
  const exited = new Promise<number | null>((resolve) => {
    child.on("exit", (code) => resolve(code));
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  return { child, output, exited };
}

function urlOf(out: string): string | null {
  return /"url":"(http:[^"]+)"/.exec(out)?.[1] ?? null;
}

async function put(url: string, turn: ReturnType<typeof aTurn>): Promise<Response> {
  const at = `/internal/turns/${turn.turnId}?attempt=1`;
  const body = JSON.stringify(turn);
  return fetch(`${url}${at}`, { method: "PUT", headers: signed("PUT", at, body), body });
}

function aSimulatedTurn(tokens: number) {
  const content = `say [[tokens:${tokens}]]`;
  return aTurn({
    engine: {
      path: "chat/completions",
      model,
      body: { messages: [{ role: "user", content }] },
      promptTokensEstimate: 5,
      completionTokensMax: null,
    },
  });
}

describe("the cell's process", () => {
  it("serves a simulated engine, lets a running turn end at SIGTERM, and exits with 0", async ({
    expect,
  }) => {
    const engine = await startSimulatedEngine({ profile: "cpu-test" });
    onTestFinished(() => engine.close());
    const { child, exited, output } = await aProcess({}, engine.url);
    await until(() => urlOf(output.out) !== null);
    const url = urlOf(output.out) ?? "";
    await until(async () => (await fetch(`${url}/readyz`)).status === 200);
    const short = await readStream(await put(url, aSimulatedTurn(20)));
    expect(contentOf(short)).toContain("Simulated text:");
    expect(short.outcome).toMatchObject({ status: "completed", usage: { completionTokens: 20 } });
    const running = await put(url, aSimulatedTurn(300));
    child.kill("SIGTERM");
    const long = await readStream(running);
    expect(long.outcome).toMatchObject({ status: "completed", usage: { completionTokens: 300 } });
    expect(await exited).toBe(0);
    for (const line of output.out.trim().split("\n")) JSON.parse(line);
    expect(output.error).toBe("");
  });

  it("ends at once at the second signal", async ({ expect }) => {
    const engine = await startSimulatedEngine({ profile: "cpu-test", speed: 0.01 });
    onTestFinished(() => engine.close());
    const { child, exited, output } = await aProcess({}, engine.url);
    await until(() => urlOf(output.out) !== null);
    const url = urlOf(output.out) ?? "";
    await until(async () => (await fetch(`${url}/readyz`)).status === 200);
    const running = await put(url, aSimulatedTurn(300));
    expect(running.status).toBe(200);
    child.kill("SIGTERM");
    await until(() => output.out.includes('"draining"'));
    child.kill("SIGTERM");
    expect(await exited).toBe(1);
    await running.text().catch(() => "");
  });

  it("refuses a broken configuration with every problem and exit code 2", async ({ expect }) => {
    const { exited, output } = await aProcess(
      { MERIDIAN_TYPO: "1", CACHE_SALT_KEY: "x" },
      "http://x/v1",
    );
    expect(await exited).toBe(2);
    expect(output.error).toContain("MERIDIAN_TYPO: got an unknown variable");
    expect(output.error).toContain("CACHE_SALT_KEY: got a value of another form");
    expect(output.out).toBe("");
  });

  it("names a port that is taken, and exits with 1", async ({ expect }) => {
    const engine = await startSimulatedEngine({ profile: "cpu-test" });
    onTestFinished(() => engine.close());
    const taken = new URL(engine.url).port;
    const { exited, output } = await aProcess({ MERIDIAN_PORT: taken }, engine.url);
    expect(await exited).toBe(1);
    expect(output.error).toContain(`${taken}: EADDRINUSE`);
  });
});
