import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildBundle, startMeridian } from "#test/load/targets.ts";
import type { Target } from "#test/load/targets.ts";
import { stopAll } from "#test/load/processes.ts";
import {
  deltaChunk,
  doneChunk,
  openStream,
  startFakeEngine,
  usageChunk,
} from "#test/support/fake-engine.ts";
import { until } from "./dev-process.ts";

/**
 * A client that goes, under the workerd binary itself, as in production: its prompt ends on the stateless lane, and goes on on
 * the durable one.
 */
let engine: Awaited<ReturnType<typeof startFakeEngine>>;
let edge: Target;

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "meridian-gone-"));
  engine = await startFakeEngine();
  edge = await startMeridian(folder, engine.url.replace("/v1", ""), {
    name: "client gone",
    bundle: buildBundle(folder),
    isStored: false,
  });
});

afterAll(async () => {
  stopAll();
  await engine.close();
});

beforeEach(() => {
  engine.requests.length = 0;
});

function ask(body: object, signal: AbortSignal): Promise<Response> {
  return fetch(`${edge.url}/v1/chat/completions`, {
    method: "POST",
    headers: { ...edge.headers, "content-type": "application/json" },
    body: JSON.stringify({
      model: "bench/model",
      messages: [{ role: "user", content: "Hello" }],
      stream: true,
      ...body,
    }),
    signal,
  });
}

/** Waits until the engine has the prompt. */
async function arrived(): Promise<void> {
  expect(await until(() => engine.requests.length > 0, 10_000)).toBe(true);
}

describe("a client that goes", () => {
  // Before the first token the pinned workerd tells the Worker nothing of a client that goes (docs/decisions/0010).
  it("ends the shard's request within 500 ms on the stateless lane, though the shard is silent", async () => {
    engine.answer = (response) => {
      openStream(response);
      response.write(deltaChunk("Hel"));
    };
    const abort = new AbortController();
    const asked = ask({}, abort.signal).then(
      (response) => response.text(),
      () => "",
    );
    await arrived();
    await wait(300);
    const goneAtMs = performance.now();
    abort.abort();
    await asked.catch(() => "");
    expect(await until(() => engine.requests[0]?.isAborted === true, 5_000)).toBe(true);
    // Two comments of 200 ms, and what a loaded machine adds: without them it is 3 s and more.
    expect(performance.now() - goneAtMs).toBeLessThan(1_500);
  });

  it("leaves a durable turn running, and finds its answer when it comes back", async () => {
    const gate = Promise.withResolvers<void>();
    engine.answer = async (response) => {
      openStream(response);
      response.write(deltaChunk("Hello"));
      await gate.promise;
      response.end(deltaChunk(" world", "stop") + usageChunk + doneChunk);
    };
    const abort = new AbortController();
    const response = await ask({ store: true }, abort.signal);
    const stream = response.headers.get("x-meridian-stream") ?? "";
    await response.body?.getReader().read();
    abort.abort();
    await wait(700);
    expect(engine.requests[0]?.isAborted).toBe(false);
    gate.resolve();
    const again = await fetch(`${edge.url}/v1/streams/${stream}`, { headers: edge.headers });
    const text = await again.text();
    expect(text).toContain('"content":" world"');
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(engine.requests).toHaveLength(1);
  });
});
