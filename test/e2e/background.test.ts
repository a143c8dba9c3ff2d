import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, startDev, until } from "./dev-process.ts";
import type { DevProcess } from "./dev-process.ts";

/** Background responses on real processes: a cell dies under one, a client goes, a client cancels. */
const model = "sim/llama-3.1-8b-instruct";
/** The promise: this long after the cancellation was asked for, the shard works on it no more. */
const cancelledMsMax = 500;

interface EngineRequest {
  readonly body?: unknown;
  readonly abortedAtMs?: number | null;
  readonly endedAtMs?: number | null;
}

let system: DevProcess;
let folder: string;
let api: OpenAI;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "meridian-background-"));
  system = await startDev(folder);
  const { edge, keys } = system.file();
  api = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: keys["eu"] ?? "", maxRetries: 0 });
});
afterAll(async () => {
  system.signal("SIGINT");
  await system.ended;
  killAll([system]);
  rmSync(folder, { recursive: true, force: true });
});

/** The shard that has been asked `word`, with its request as the engine saw it. */
async function findRequest(word: string) {
  for (const shard of system.file().shards) {
    const response = await fetch(new URL("/control/requests", shard.url)).catch(() => null);
    if (response === null) continue;
    const { requests } = (await response.json()) as { requests: readonly EngineRequest[] };
    const request = requests.findLast(({ body }) => JSON.stringify(body ?? "").includes(word));
    if (request !== undefined) return { shard, request };
  }
  return null;
}

async function findRunning(word: string) {
  let found = await findRequest(word);
  await until(async () => {
    found = await findRequest(word);
    return found !== null;
  }, 20_000);
  if (found === null) throw new Error(`no shard was asked ${word}`);
  return found;
}

async function finished(id: string): Promise<OpenAI.Responses.Response> {
  let response = await api.responses.retrieve(id);
  await until(async () => {
    response = await api.responses.retrieve(id);
    return response.status !== "queued" && response.status !== "in_progress";
  }, 60_000);
  return response;
}

describe("a background response", () => {
  it("completes without its client, with the text that a client would have got", async () => {
    const input = "Quay of herons. [[tokens:300]]";
    const begun = await api.responses.create({ model, input, background: true });
    expect(["queued", "in_progress"]).toContain(begun.status);
    const ended = await finished(begun.id);
    expect(ended.status).toBe("completed");
    const direct = await api.responses.create({ model, input });
    expect(ended.output_text).toBe(direct.output_text);
    expect(ended.usage?.output_tokens).toBe(300);
  });

  it("outlives the cell that runs it", async () => {
    const input = "Lantern of moss. [[tokens:1500]]";
    const begun = await api.responses.create({ model, input, background: true });
    const { shard } = await findRunning("Lantern of moss");
    const cell = system.file().cells.find(({ id }) => id === shard.cell);
    if (cell?.pid === undefined) throw new Error("the cell has no process");
    process.kill(cell.pid, "SIGKILL");
    const ended = await finished(begun.id);
    expect(ended.status).toBe("completed");
    const direct = await api.responses.create({ model, input });
    expect(ended.output_text).toBe(direct.output_text);
  });

  it("streams while its client is there, and is read on from where that one went", async () => {
    const input = "Orchard of tin. [[tokens:800]]";
    const stream = await api.responses.create({ model, input, background: true, stream: true });
    let id = "";
    let text = "";
    let position = 0;
    for await (const event of stream) {
      position = event.sequence_number;
      if (event.type === "response.created") id = event.response.id;
      if (event.type === "response.output_text.delta") text += event.delta;
      if (position >= 20) break;
    }
    const rest = await api.responses.retrieve(id, { stream: true, starting_after: position });
    let last = "";
    for await (const event of rest) {
      if (event.type === "response.output_text.delta") text += event.delta;
      last = event.type;
    }
    expect(last).toBe("response.completed");
    expect(text).toBe((await finished(id)).output_text);
  });

  it("ends on its shard half a second after it is cancelled, and stays so", async () => {
    const input = "Ferry of chalk. [[tokens:4000]]";
    const begun = await api.responses.create({ model, input, background: true });
    await findRunning("Ferry of chalk");
    const askedAtMs = Date.now();
    const cancelled = await api.responses.cancel(begun.id);
    expect(cancelled.status).toBe("cancelled");
    await until(async () => {
      const found = await findRequest("Ferry of chalk");
      return typeof found?.request.abortedAtMs === "number";
    }, 5_000);
    const { request } = await findRunning("Ferry of chalk");
    expect((request.abortedAtMs ?? Infinity) - askedAtMs).toBeLessThan(cancelledMsMax);
    expect((await api.responses.cancel(begun.id)).status).toBe("cancelled");
    expect((await api.responses.retrieve(begun.id)).status).toBe("cancelled");
  });
});
