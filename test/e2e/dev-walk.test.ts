import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startSimulatedEngine } from "#dev/simulated-engine/start.ts";
import {
  getWithHost,
  killAll,
  pidsOf,
  runScript,
  startDev,
  survivors,
  until,
} from "./dev-process.ts";
import type { DevFile, DevProcess } from "./dev-process.ts";

const model = "sim/llama-3.1-8b-instruct";
const stopMsMax = 30_000;
const restartMsMax = 60_000;

let folder: string;
const all: DevProcess[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-walk-"));
});
afterAll(() => {
  killAll(all);
  rmSync(folder, { recursive: true, force: true });
});

async function start(name: string, ...more: readonly string[]): Promise<DevProcess> {
  const running = await startDev(join(folder, name), ...more);
  all.push(running);
  return running;
}

function clientOf(file: DevFile, jurisdiction: string): OpenAI {
  const apiKey = file.keys[jurisdiction] ?? "";
  return new OpenAI({ baseURL: `${file.edge.url}/v1`, apiKey, maxRetries: 0 });
}

async function ask(file: DevFile, jurisdiction: string, content = "Hello [[tokens:12]]") {
  const client = clientOf(file, jurisdiction);
  const messages = [{ role: "user" as const, content }];
  return client.chat.completions.create({ model, messages }).withResponse();
}

/** Kills a part and waits until dev.json names another process for it. */
async function killAndWait(
  running: DevProcess,
  pidIn: (file: DevFile) => number | undefined,
): Promise<void> {
  const before = pidIn(running.file()) ?? 0;
  process.kill(before, "SIGKILL");
  const isBack = await until(() => {
    const now = pidIn(running.file());
    return now !== undefined && now !== before;
  }, restartMsMax);
  expect(isBack).toBe(true);
}

describe("npm run dev, from its start to Ctrl-C and a second start", () => {
  let running: DevProcess;
  let keys: DevFile["keys"];
  let conversation: string;

  beforeAll(async () => {
    running = await start("state");
    keys = running.file().keys;
  });

  test("writes what runs where, for this user only", () => {
    const file = running.file();
    expect(Object.keys(file.keys).toSorted()).toStrictEqual(["admin", "eu", "us"]);
    expect(file.edge.hostnames).toStrictEqual({ eu: "eu.localhost", us: "us.localhost" });
    expect(file.cells.map(({ id }) => id)).toStrictEqual([
      "eu-west-1a",
      "eu-central-1a",
      "us-east-1a",
    ]);
    for (const { id } of file.cells)
      expect(file.shards.filter(({ cell }) => cell === id).length).toBeGreaterThanOrEqual(2);
    expect(file.databases).toHaveLength(3);
    expect(statSync(join(running.statePath, "dev.json")).mode & 0o777).toBe(0o600);
    expect(statSync(join(running.statePath, "edge.env")).mode & 0o777).toBe(0o600);
  });

  test.each(["eu", "us"])("answers the official client in %s, streamed and not", async (place) => {
    const { data, response } = await ask(running.file(), place);
    expect(data.choices[0]?.message.content).toMatch(/^Simulated text:/);
    expect(response.headers.get("x-meridian-shard")).toMatch(new RegExp(`^${place}-`));
    const stream = await clientOf(running.file(), place).chat.completions.create({
      model,
      messages: [{ role: "user", content: "Hello [[tokens:12]]" }],
      stream: true,
    });
    let text = "";
    let reason: string | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      reason = chunk.choices[0]?.finish_reason ?? reason;
    }
    expect({ text, reason }).toStrictEqual({
      text: data.choices[0]?.message.content,
      reason: "stop",
    });
  });

  test("refuses a key on the other jurisdiction's hostname", async () => {
    const { edge } = running.file();
    const answer = await getWithHost(`${edge.url}/v1/models`, "us.localhost", keys["eu"] ?? "");
    expect(answer.status).toBe(421);
    expect(answer.body).toContain("wrong_jurisdiction");
  });

  test("gives receipts that the command line verifies offline, and refuses a changed one", async () => {
    const { response } = await ask(running.file(), "eu");
    const receipt = response.headers.get("x-meridian-receipt") ?? "";
    const keysFile = join(running.statePath, "receipt-keys.json");
    const command = ["meridian", "--", "receipts", "verify", "-", "--keys", keysFile];
    const good = await runScript(command, { input: receipt });
    expect(good).toMatchObject({ code: 0, output: expect.stringContaining("eu-") as string });
    const changed = `A${receipt.slice(1)}`;
    expect((await runScript(command, { input: changed })).code).toBe(1);
  });

  test("tells the state of every part", async () => {
    const { code, output } = await runScript([
      "meridian",
      "--",
      "status",
      "--state",
      running.statePath,
    ]);
    expect({ code, output }).toMatchObject({ code: 0 });
    expect(output).toContain("us-east-1a");
  });

  test("refuses a second start in the same state folder and leaves the first alone", async () => {
    const { code, output } = await runScript(["dev", "--", "--state", running.statePath]);
    expect(code).toBe(1);
    expect(output).toContain("already runs");
    expect((await ask(running.file(), "eu")).response.status).toBe(200);
  });

  test("answers while a shard is dead, and brings it back", async () => {
    const { response } = await ask(running.file(), "eu");
    const shard = response.headers.get("x-meridian-shard");
    const pidIn = (file: DevFile) => file.shards.find(({ id }) => id === shard)?.pid;
    process.kill(pidIn(running.file()) ?? 0, "SIGKILL");
    const { data } = await ask(running.file(), "eu");
    expect(data.choices[0]?.finish_reason).toBe("stop");
    const isBack = await until(
      () => running.output().includes(`${shard} runs again`),
      restartMsMax,
    );
    expect(isBack).toBe(true);
    expect(running.output()).toContain(`${shard} ended (signal SIGKILL)`);
  });

  test("brings a killed cell back on its port, and answers through it", async () => {
    const cellOf = (file: DevFile) => file.cells.find(({ id }) => id === "us-east-1a");
    const { url } = cellOf(running.file()) ?? {};
    await killAndWait(running, (file) => cellOf(file)?.pid);
    expect(cellOf(running.file())?.url).toBe(url);
    const isServing = await until(async () => {
      const answered = await ask(running.file(), "us").catch(() => null);
      return answered?.data.choices[0]?.finish_reason === "stop";
    }, restartMsMax);
    expect(isServing).toBe(true);
  });

  test("brings a killed edge back on its port, with nothing left of the old one", async () => {
    const { edge } = running.file();
    await killAndWait(running, (file) => file.edge.pid);
    expect(running.file().edge.url).toBe(edge.url);
    expect(survivors([edge.pid ?? 0])).toStrictEqual([]);
    expect((await ask(running.file(), "eu")).response.status).toBe(200);
  });

  test("brings back an edge that answers nothing because its workerd was killed", async () => {
    const leader = running.file().edge.pid ?? 0;
    const below = survivors([leader]).filter((pid) => pid !== leader);
    expect(below.length).toBeGreaterThan(0);
    for (const pid of below) process.kill(pid, "SIGKILL");
    const isBack = await until(() => {
      const now = running.file().edge.pid;
      return now !== undefined && now !== leader;
    }, restartMsMax);
    expect(isBack).toBe(true);
    expect(running.output()).toContain("edge ended (it answered nothing any more)");
    expect((await ask(running.file(), "eu")).response.status).toBe(200);
  });

  test("keeps a conversation", async () => {
    const client = clientOf(running.file(), "eu");
    conversation = (await client.conversations.create({})).id;
    await client.responses.create({ model, input: "Remember 4711 [[tokens:12]]", conversation });
    const items = await client.conversations.items.list(conversation);
    expect(items.data).toHaveLength(2);
  });

  test("ends every process at Ctrl-C", async () => {
    const leaders = pidsOf(running.file());
    running.signal("SIGINT");
    expect(await running.ended).toMatchObject({ code: 0 });
    expect(survivors(leaders)).toStrictEqual([]);
    expect(() => readFileSync(join(running.statePath, "dev.json"))).toThrow("ENOENT");
  });

  test("starts again with the same keys and the conversation, and leaves nothing after kill -9", async () => {
    running = await start("state");
    expect(running.file().keys).toStrictEqual(keys);
    const client = clientOf(running.file(), "eu");
    const { data } = await client.conversations.items.list(conversation);
    expect(JSON.stringify(data)).toContain("Remember 4711");
    const leaders = pidsOf(running.file());
    running.signal("SIGKILL");
    await running.ended;
    const isClean = await until(() => survivors(leaders).length === 0, stopMsMax);
    expect(survivors(leaders)).toStrictEqual([]);
    expect(isClean).toBe(true);
  });
});

describe("npm run dev with a running engine", () => {
  test("serves the engine's models through every cell", async () => {
    const engine = await startSimulatedEngine({ model: "sim/own-model", profile: "cpu-test" });
    try {
      const running = await start("engine-state", "--engine", engine.url.replace("/v1", ""));
      const file = running.file();
      expect(new Set(file.shards.map((shard) => shard.model))).toStrictEqual(
        new Set(["sim/own-model"]),
      );
      expect(file.shards.every(({ url, pid }) => url === engine.url && pid === undefined)).toBe(
        true,
      );
      for (const jurisdiction of ["eu", "us"]) {
        const answer = await clientOf(file, jurisdiction).chat.completions.create({
          model: "sim/own-model",
          messages: [{ role: "user", content: "Hello [[tokens:12]]" }],
        });
        expect(answer.choices[0]?.finish_reason).toBe("stop");
      }
      const leaders = pidsOf(file);
      running.signal("SIGTERM");
      expect(await running.ended).toMatchObject({ code: 0 });
      expect(survivors(leaders)).toStrictEqual([]);
    } finally {
      await engine.close();
    }
  });
});

describe("npm run dev that cannot start", () => {
  async function refusal(name: string, ...args: readonly string[]) {
    const statePath = join(folder, name);
    const environment = { NO_COLOR: "1" };
    return runScript(["dev", "--", "--state", statePath, ...args], { environment });
  }

  test("names a taken port and what to do", async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
    const { code, output } = await refusal("taken", "--port", String(port));
    server.close();
    expect(code).toBe(1);
    expect(output).toContain(`Port ${port} of 127.0.0.1 is taken`);
    // It let go of the folder: nothing of it runs.
    expect(() => readFileSync(join(folder, "taken", "supervisor.pid"))).toThrow("ENOENT");
  });

  test("names every problem of a broken topology: path, got, wanted", async () => {
    const file = join(folder, "broken.jsonc");
    const topology = readFileSync("topology.jsonc", "utf8")
      .replace('"region": "eu-west-1", "zone": "a"', '"region": "mars", "zone": "a"')
      .replace('"latitude": 50.11', '"latitude": "north"');
    writeFileSync(file, topology);
    const { code, output } = await refusal("broken", "--topology", file);
    expect(code).toBe(1);
    expect(output).toContain("regions.eu-central-1.latitude");
  });

  test("names a variable that the topology wants and nobody set", async () => {
    const file = join(folder, "with-key.jsonc");
    const topology = readFileSync("topology.jsonc", "utf8").replace(
      '"backend": { "kind": "simulated" }',
      '"backend": { "kind": "openai-compatible", "url": "http://127.0.0.1:9/v1", "apiKey": "env:WALK_SHARD_KEY" }',
    );
    writeFileSync(file, topology);
    const { code, output } = await refusal("with-key", "--topology", file);
    expect(code).toBe(1);
    expect(output).toContain("WALK_SHARD_KEY");
  });

  test.each([
    ["an unknown option", ["--colour"], "--colour"],
    ["a repeated option", ["--port", "1", "--port", "2"], "--port: given twice"],
    ["a port that is none", ["--port", "65536"], "--port: got"],
  ])("refuses %s", async (_title, args, wanted) => {
    const { code, output } = await refusal("options", ...args);
    expect(code).toBe(2);
    expect(output).toContain(wanted);
  });

  test("refuses to empty a folder that is not its own", async () => {
    const mine = mkdtempSync(join(folder, "mine-"));
    writeFileSync(join(mine, "thesis.txt"), "years of work");
    const { code, output } = await runScript(["dev", "--", "--state", mine, "--fresh"]);
    expect(code).toBe(1);
    expect(output).toContain("nothing was removed");
    expect(readFileSync(join(mine, "thesis.txt"), "utf8")).toBe("years of work");
  });

  test("says that a named engine cannot be used", async () => {
    const { code, output } = await refusal("engine", "--engine", "http://127.0.0.1:9");
    expect(code).toBe(1);
    expect(output).toContain("--engine: http://127.0.0.1:9/v1/models cannot be used");
  });
});
