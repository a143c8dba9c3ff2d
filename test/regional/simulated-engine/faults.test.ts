import { describe, it } from "vitest";
import {
  aChat,
  addFault,
  anEngine,
  contentOf,
  eventsOf,
  metricOf,
  model,
  post,
  readAll,
  requestsOf,
  until,
} from "./support.ts";

type Engine = Awaited<ReturnType<typeof anEngine>>;

async function stream(engine: Engine, tokens = 30) {
  const startedAtMs = performance.now();
  const response = await post(`${engine.url}/chat/completions`, aChat(tokens, { stream: true }));
  const read = await readAll(response);
  return { ...read, response, durationMs: performance.now() - startedAtMs };
}

async function whole(engine: Engine, tokens = 30) {
  const response = await post(`${engine.url}/chat/completions`, aChat(tokens));
  return { response, ...(await readAll(response)) };
}

const deltas = (text: string) =>
  eventsOf(text).filter(
    (event) => (event.choices?.[0]?.delta.role ?? "") === "" && event.choices?.length === 1,
  ).length;

describe("faults in a stream", () => {
  it("cut: the connection breaks after exactly n tokens", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "cut", afterTokens: 7, count: 1 });
    const cut = await stream(engine);
    expect(cut.failed).toBe(true);
    expect(deltas(cut.text)).toBe(7);
    const after = await stream(engine);
    expect(after.failed).toBe(false);
    expect(contentOf(after.text).startsWith(contentOf(cut.text))).toBe(true);
    expect(await metricOf(engine, "vllm:num_requests_running")).toBe(0);
  });
  it("clean-end: ends properly, without finish_reason and [DONE]", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "clean-end", afterTokens: 7 });
    const { text, failed } = await stream(engine);
    expect({ failed, tokens: deltas(text) }).toEqual({ failed: false, tokens: 7 });
    expect(text).not.toContain("[DONE]");
    expect(text).not.toContain('finish_reason":"');
  });
  it("no-done: everything but [DONE]", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "no-done" });
    const { text } = await stream(engine);
    expect(text).toContain('finish_reason":"stop"');
    expect(text).not.toContain("[DONE]");
  });
  it("error-chunk: an error object inside a 200", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "error-chunk", afterTokens: 3 });
    const { text, response } = await stream(engine);
    expect(response.status).toBe(200);
    expect(text.split("\n\n").filter((event) => event.startsWith('data: {"error"')).length).toBe(1);
  });
  it("garbage: bytes that are not UTF-8", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "garbage", afterTokens: 3 });
    const { bytes } = await stream(engine);
    expect(() => new TextDecoder("utf-8", { fatal: true }).decode(bytes)).toThrow();
  });
  it("bad-json: an event that is cut short", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "bad-json", afterTokens: 3 });
    expect(() => eventsOf("")).not.toThrow();
    const { text } = await stream(engine);
    expect(() => eventsOf(text)).toThrow();
  });
  it("split-utf8: the same bytes in many pieces", async ({ expect }) => {
    const engine = await anEngine();
    const plain = contentOf((await stream(engine, 60)).text);
    await addFault(engine, { kind: "split-utf8" });
    const response = await post(`${engine.url}/chat/completions`, aChat(60, { stream: true }));
    const reads: Uint8Array[] = [];
    if (response.body !== null) for await (const part of response.body) reads.push(part);
    expect(contentOf(Buffer.concat(reads).toString())).toBe(plain);
    expect(
      reads.some(
        (part) =>
          Buffer.from(part).toString() === "da" || Buffer.from(part).toString().endsWith("\nda"),
      ),
    ).toBe(true);
    const torn = reads.filter((part) => Buffer.from(part).toString().includes("\ufffd"));
    expect(torn.length).toBeGreaterThan(0);
  });
  it("stall: n tokens, then nothing until the client leaves", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "stall", afterTokens: 4 });
    const abort = new AbortController();
    const response = await post(`${engine.url}/chat/completions`, aChat(30, { stream: true }), {
      signal: abort.signal,
    });
    const reader = response.body?.getReader();
    let text = "";
    while (deltas(text) < 4) text += Buffer.from((await reader?.read())?.value ?? []).toString();
    const silence = await Promise.race([
      reader?.read(),
      new Promise((resolve) => setTimeout(() => resolve("silence"), 100)),
    ]);
    expect(silence).toBe("silence");
    abort.abort();
    await until(async () => (await requestsOf(engine))[0]?.aborted === true);
  });
  it("stall from the start: not even headers", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "stall" });
    await expect(
      post(`${engine.url}/chat/completions`, aChat(30), { signal: AbortSignal.timeout(100) }),
    ).rejects.toThrow();
    await until(async () => (await requestsOf(engine))[0]?.aborted === true);
  });
  it("never-ends: goes on past the end of the answer", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "never-ends" });
    const abort = new AbortController();
    const response = await post(`${engine.url}/chat/completions`, aChat(5, { stream: true }), {
      signal: abort.signal,
    });
    const reader = response.body?.getReader();
    let text = "";
    while (deltas(text) < 20) text += Buffer.from((await reader?.read())?.value ?? []).toString();
    expect(text).not.toContain('finish_reason":"');
    abort.abort();
  });
  it("slow: many times longer", async ({ expect }) => {
    const engine = await anEngine();
    const plain = await stream(engine);
    await addFault(engine, { kind: "slow", factor: 20 });
    const slow = await stream(engine);
    expect(slow.text.length).toBe(plain.text.length);
    expect(slow.durationMs).toBeGreaterThan(300);
  });
  it("repeat-chunk, double-done, wrong-model, wrong-content-type", async ({ expect }) => {
    const engine = await anEngine();
    const one = async (kind: string) => {
      await addFault(engine, { kind, count: 1 });
      return stream(engine);
    };
    expect(deltas((await one("repeat-chunk")).text)).toBe(31);
    expect((await one("double-done")).text.split("[DONE]").length).toBe(4);
    expect(eventsOf((await one("wrong-model")).text)[0]?.model).toBe("sim/another-model");
    expect((await one("wrong-content-type")).response.headers.get("content-type")).toBe(
      "application/octet-stream",
    );
  });
  it("wrong: another text, in other respects perfect", async ({ expect }) => {
    const engine = await anEngine();
    const right = contentOf((await stream(engine)).text);
    await addFault(engine, { kind: "wrong" });
    const wrong = contentOf((await stream(engine)).text);
    expect(wrong).toMatch(/^Simulated text:/u);
    expect(wrong).not.toBe(right);
  });
  it("crash: calls the process's end after n tokens", async ({ expect }) => {
    let crashes = 0;
    const engine = await anEngine({ onCrash: () => (crashes += 1) });
    await addFault(engine, { kind: "crash", afterTokens: 2, count: 1 });
    const abort = new AbortController();
    const response = await post(`${engine.url}/chat/completions`, aChat(30, { stream: true }), {
      signal: abort.signal,
    });
    expect(response.status).toBe(200);
    await until(async () => crashes === 1);
    abort.abort();
    await response.body?.cancel().catch(() => undefined);
  });
});

describe("faults before and in whole answers", () => {
  it("refuse: the socket closes at once", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "refuse", count: 1 });
    await expect(whole(engine)).rejects.toThrow();
    expect((await fetch(`${engine.origin}/health`)).status).toBe(200);
    expect((await whole(engine)).response.status).toBe(200);
  });
  it("scope all also hits health", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "status-503", scope: "all" });
    expect((await fetch(`${engine.origin}/health`)).status).toBe(503);
  });
  it.for([
    [{ kind: "status-429" }, 429, "1"],
    [{ kind: "status-429", retryAfterSeconds: -1 }, 429, "-1"],
    [
      { kind: "status-429", retryAfterSeconds: "Wed, 21 Oct 2015 07:28:00 GMT" },
      429,
      "Wed, 21 Oct 2015 07:28:00 GMT",
    ],
    [{ kind: "status-500" }, 500, null],
    [{ kind: "status-503", retryAfterSeconds: 7 }, 503, "7"],
  ] as const)("%j", async ([fault, status, retryAfter], { expect }) => {
    const engine = await anEngine();
    await addFault(engine, fault);
    const { response } = await whole(engine);
    expect(response.status).toBe(status);
    expect(response.headers.get("retry-after")).toBe(retryAfter);
  });
  it("html, redirect", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "html", count: 1 });
    const html = await whole(engine);
    expect(html.response.status).toBe(200);
    expect(html.response.headers.get("content-type")).toContain("text/html");
    await addFault(engine, { kind: "redirect", count: 1 });
    const redirect = await post(`${engine.url}/chat/completions`, aChat(5), { redirect: "manual" });
    expect(redirect.headers.get("location")).toContain("169.254.169.254");
  });
  it("delay: waits, then answers", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "delay", delayMs: 150 });
    const startedAtMs = performance.now();
    expect((await whole(engine)).response.status).toBe(200);
    expect(performance.now() - startedAtMs).toBeGreaterThan(140);
  });
  it("cut, clean-end, bad-json, garbage, error-chunk break a whole answer too", async ({
    expect,
  }) => {
    const engine = await anEngine();
    const one = async (kind: string) => {
      await addFault(engine, { kind, count: 1 });
      return whole(engine);
    };
    expect((await one("cut")).failed).toBe(true);
    for (const kind of ["clean-end", "bad-json", "garbage"]) {
      const { text, response } = await one(kind);
      expect(response.status).toBe(200);
      expect(() => JSON.parse(text), kind).toThrow();
    }
    expect(JSON.parse((await one("error-chunk")).text)).toMatchObject({ error: { code: 500 } });
  });
  it("huge-line: 50 MiB without a line feed", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "huge-line" });
    expect((await stream(engine, 2)).bytes.length).toBeGreaterThan(50 * 1024 * 1024);
  });
  it("cold: not ready, then ready with an empty cache", async ({ expect }) => {
    const engine = await anEngine();
    await whole(engine);
    await addFault(engine, { kind: "cold", delayMs: 200 });
    expect((await fetch(`${engine.origin}/health`)).status).toBe(503);
    expect((await whole(engine)).response.status).toBe(503);
    await until(async () => (await fetch(`${engine.origin}/health`)).status === 200);
  });
});

describe("scale to zero", () => {
  const platformOf = async (engine: { origin: string }) =>
    (await (await fetch(`${engine.origin}/control/platform`)).json()) as { state: string };

  it("answers 503 with Retry-After while it starts, then serves", async ({ expect }) => {
    const engine = await anEngine({ scaleToZeroMs: 60_000, coldStartMs: 300 });
    expect(await platformOf(engine)).toStrictEqual({ state: "down", starts: 0 });
    const { response } = await whole(engine);
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    await until(async () => (await platformOf(engine)).state === "up");
    expect((await whole(engine)).response.status).toBe(200);
  });

  it("holds the prompt until it has started where its platform does", async ({ expect }) => {
    const engine = await anEngine({ scaleToZeroMs: 60_000, coldStartMs: 200, whileCold: "hold" });
    expect((await whole(engine)).response.status).toBe(200);
    expect(await platformOf(engine)).toStrictEqual({ state: "up", starts: 1 });
  });

  it("is taken down by hand; nonsense is refused", async ({ expect }) => {
    const engine = await anEngine({ scaleToZeroMs: 60_000 });
    await whole(engine);
    expect((await post(`${engine.origin}/control/cold`, { coldStartMs: -1 })).status).toBe(400);
    const taken = await post(`${engine.origin}/control/cold`, { coldStartMs: 60_000 });
    expect(await taken.json()).toStrictEqual({ state: "down", starts: 1 });
    expect((await whole(engine)).response.status).toBe(503);
  });
});

describe("control", () => {
  it("lists and deletes faults and requests", async ({ expect }) => {
    const engine = await anEngine();
    await addFault(engine, { kind: "cut", count: 3 });
    const list = async () =>
      (await (await fetch(`${engine.origin}/control/faults`)).json()) as { faults: object[] };
    expect((await list()).faults).toMatchObject([{ kind: "cut", remaining: 3, hits: 0 }]);
    await fetch(`${engine.origin}/control/faults`, { method: "DELETE" });
    expect((await list()).faults).toEqual([]);
    await whole(engine);
    expect(await requestsOf(engine)).toMatchObject([
      {
        path: "/v1/chat/completions",
        body: { model },
        status: 200,
        tokens: 30,
        aborted: false,
        fault: null,
      },
    ]);
    await fetch(`${engine.origin}/control/requests`, { method: "DELETE" });
    expect(await requestsOf(engine)).toEqual([]);
  });
  it("lies of its load, and tells the truth again when the fault is gone", async ({ expect }) => {
    const engine = await anEngine({ concurrentMax: 2 });
    const told = async () => ({
      running: await metricOf(engine, "vllm:num_requests_running"),
      waiting: await metricOf(engine, "vllm:num_requests_waiting"),
      kv: await metricOf(engine, "vllm:kv_cache_usage_perc"),
    });
    await addFault(engine, { kind: "lie", says: "full" });
    expect(await told()).toEqual({ running: 2, waiting: 8, kv: 1 });
    const format = { "endpoint-load-metrics-format": "TEXT", "content-type": "application/json" };
    const { headers } = await post(`${engine.url}/chat/completions`, aChat(3), { headers: format });
    expect(headers.get("endpoint-load-metrics")).toContain("num_requests_waiting=8.0");
    await fetch(`${engine.origin}/control/faults`, { method: "DELETE" });
    expect(await told()).toEqual({ running: 0, waiting: 0, kv: 0 });
    await addFault(engine, { kind: "stall", afterTokens: 1 });
    const gone = new AbortController();
    const asked = post(`${engine.url}/chat/completions`, aChat(500, { stream: true }), {
      signal: gone.signal,
    });
    await asked;
    await until(async () => (await told()).running === 1);
    await addFault(engine, { kind: "lie" });
    expect(await told()).toEqual({ running: 0, waiting: 0, kv: 0 });
    gone.abort();
  });
  it("refuses unknown kinds and fields with path, got and wanted", async ({ expect }) => {
    const engine = await anEngine();
    const bad = await post(`${engine.origin}/control/faults`, { kind: "explode" });
    expect(bad.status).toBe(400);
    expect(await bad.text()).toContain('kind: got \\"explode\\", wanted one of');
    expect((await post(`${engine.origin}/control/faults`, { kind: "cut", extra: 1 })).status).toBe(
      400,
    );
    expect((await post(`${engine.origin}/control/faults`, "{")).status).toBe(400);
  });
});
