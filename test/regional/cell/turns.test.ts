import { describe, it } from "vitest";
import { outcomeHeader } from "#shared/protocol/internal/stream.ts";
import { parseTurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import {
  deltaChunk,
  doneChunk,
  hangsAfter,
  openStream,
  says,
  usageChunk,
} from "#test/support/fake-engine.ts";
import { aCell, aDurableTurn, aTurn, contentOf, model, readStream, until } from "./harness.ts";

describe("a turn on a cell", () => {
  it("streams a stateless answer with gapless frames, the outcome before the terminal ones", async ({
    expect,
  }) => {
    const cell = await aCell();
    const response = await cell.put(aTurn());
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("x-meridian-shard")).toMatch(/^eu-west-1a\/s-/);
    const stream = await readStream(response);
    expect(contentOf(stream)).toBe("Hello world");
    expect(stream.frames.map(({ seq }) => seq)).toEqual(stream.frames.map((_, index) => index + 1));
    expect(stream.frames.slice(stream.terminalFrom).map(({ data }) => data)).toEqual(["[DONE]"]);
    expect(stream.outcome).toMatchObject({
      status: "completed",
      error: null,
      items: [],
      body: null,
      usage: { promptTokens: 7, completionTokens: 3 },
    });
  });

  it("answers a stateless client that does not stream with one JSON body and the outcome in a header", async ({
    expect,
  }) => {
    const cell = await aCell();
    const response = await cell.put(aTurn({}, { stream: false }));
    expect(response.headers.get("content-type")).toBe("application/json");
    const text = await response.text();
    expect(response.headers.get("content-length")).toBe(String(Buffer.byteLength(text)));
    expect(JSON.parse(text)).toMatchObject({
      object: "chat.completion",
      model,
      choices: [{ message: { role: "assistant", content: "Hello world" }, finish_reason: "stop" }],
    });
    const header = response.headers.get(outcomeHeader) ?? "";
    const outcome = parseTurnOutcome(header);
    expect(outcome).toMatchObject({ status: "completed", body: null });
  });

  it("gives a durable turn that is not streamed no client frames, and its answer in the outcome", async ({
    expect,
  }) => {
    const cell = await aCell();
    const stream = await readStream(await cell.put(aDurableTurn({}, { stream: false })));
    expect(stream.frames).toEqual([]);
    expect(JSON.parse(stream.outcome?.body ?? "")).toMatchObject({ object: "chat.completion" });
    expect(stream.outcome?.items).toHaveLength(1);
  });

  it("sends the shard seven headers, the gateway's fields and nothing of the tenant", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const trace = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const response = await cell.put(aTurn(), {
      headers: { traceparent: trace, cookie: "secret=1" },
    });
    await response.text();
    const seen = cell.engines[0]?.requests[0];
    expect(Object.keys(seen?.headers ?? {}).toSorted()).toEqual([
      "accept",
      "connection",
      "content-length",
      "content-type",
      "endpoint-load-metrics-format",
      "host",
      "traceparent",
      "user-agent",
      "x-request-id",
    ]);
    expect(seen?.headers["traceparent"]).toContain("a".repeat(32));
    expect(seen?.headers["traceparent"]).not.toContain("b".repeat(16));
    expect(seen?.body).toMatchObject({
      model,
      stream: true,
      stream_options: { include_usage: true },
      return_token_ids: true,
    });
    expect(seen?.body["cache_salt"]).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.stringify(seen)).not.toContain("acme");
  });

  it("salts the caches of two tenants differently", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    await (await cell.put(aTurn())).text();
    await (await cell.put(aTurn({ tenant: "globex" }))).text();
    const salts = cell.engines[0]?.requests.map(({ body }) => body["cache_salt"]);
    expect(new Set(salts).size).toBe(2);
  });

  it("returns embeddings under the client's model name with their usage", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    engine.answer = (response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const data = [{ object: "embedding", index: 0, embedding: [0.5, -1] }];
      response.end(
        JSON.stringify({
          object: "list",
          data,
          model: "x",
          usage: { prompt_tokens: 2, total_tokens: 2 },
        }),
      );
    };
    const turn = aTurn(
      {
        engine: {
          path: "embeddings",
          model,
          body: { input: "hi" },
          promptTokensEstimate: 1,
          completionTokensMax: null,
        },
      },
      { api: "embeddings", stream: false },
    );
    const response = await cell.put(turn);
    expect(await response.json()).toMatchObject({ model, data: [{ embedding: [0.5, -1] }] });
    expect(engine.requests[0]?.body["stream"]).toBeUndefined();
  });

  it("joins a second delivery of an attempt to the one generation, with the same bytes", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    const release = Promise.withResolvers<void>();
    engine.answer = async (response) => {
      openStream(response);
      response.write(deltaChunk("Hello"));
      await release.promise;
      response.end(deltaChunk(" world") + deltaChunk("", "stop") + usageChunk + doneChunk);
    };
    const turn = aDurableTurn();
    const first = await cell.put(turn);
    const second = await cell.put(turn);
    release.resolve();
    const [one, two] = [await first.text(), await second.text()];
    expect(two).toBe(one);
    expect(await (await cell.put(turn)).text()).toBe(one);
    expect(engine.requests).toHaveLength(1);
  });

  it("refuses a lower attempt and a lower incarnation, and lets a higher attempt take over", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const turn = aDurableTurn({ attempt: 2, incarnation: 3 });
    await (await cell.put(turn)).text();
    expect((await cell.put({ ...turn, attempt: 1 })).status).toBe(409);
    expect((await cell.put({ ...turn, incarnation: 2 })).status).toBe(409);
    const next = await readStream(await cell.put({ ...turn, attempt: 3 }));
    expect(next.outcome?.attempt).toBe(3);
    const old = await cell.call("GET", `/internal/turns/${turn.turnId}/frames?attempt=2&after=0`);
    expect(old.status).toBe(409);
  });

  it("goes on without its reader on the durable lane, and replays from any seq", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    const release = Promise.withResolvers<void>();
    engine.answer = async (response) => {
      openStream(response);
      response.write(deltaChunk("Hello"));
      await release.promise;
      response.end(deltaChunk(" world") + deltaChunk("", "stop") + usageChunk + doneChunk);
    };
    const turn = aDurableTurn();
    const client = new AbortController();
    const response = await cell.put(turn, { signal: client.signal });
    await response.body?.getReader().read();
    client.abort();
    release.resolve();
    const path = `/internal/turns/${turn.turnId}/frames?attempt=1`;
    const whole = await readStream(await cell.call("GET", `${path}&after=0`));
    expect(contentOf(whole)).toBe("Hello world");
    expect(engine.requests[0]?.isAborted).toBe(false);
    for (const { seq } of whole.frames) {
      const rest = await readStream(await cell.call("GET", `${path}&after=${seq}`));
      expect(rest.frames).toEqual(whole.frames.filter((frame) => frame.seq > seq));
      expect(rest.outcome).toEqual(whole.outcome);
    }
  });

  it("answers who follows a turn before its first token at once, and a failed one with its outcome", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1, overrides: { turnPolicy: { triesMax: 1 } } });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    const release = Promise.withResolvers<void>();
    engine.answer = async (response) => {
      await release.promise;
      response.writeHead(500).end();
    };
    const turn = aDurableTurn();
    const put = cell.put(turn);
    await until(() => engine.requests.length === 1);
    const path = `/internal/turns/${turn.turnId}/frames?attempt=1&after=0`;
    const following = await cell.call("GET", path);
    const first = await following.body?.getReader().read();
    expect(Buffer.from(first?.value ?? []).toString()).toBe(": keep-alive\n\n");
    release.resolve();
    expect((await put).status).toBe(502);
    const after = await readStream(await cell.call("GET", path));
    expect(after).toMatchObject({
      frames: [],
      outcome: { status: "failed", error: { code: "upstream_invalid" } },
    });
  });

  it("drops acknowledged frames, and says so to who asks for them", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const turn = aDurableTurn();
    await (await cell.put(turn)).text();
    const path = `/internal/turns/${turn.turnId}`;
    const ok = await cell.call("POST", `${path}/acknowledge`, { attempt: 1, seq: 2 });
    expect(ok.status).toBe(200);
    expect((await cell.call("GET", `${path}/frames?attempt=1&after=1`)).status).toBe(409);
    const rest = await readStream(await cell.call("GET", `${path}/frames?attempt=1&after=2`));
    expect(rest.frames[0]?.seq).toBe(3);
    expect(rest.outcome?.status).toBe("completed");
    const wrong = await cell.call("POST", `${path}/acknowledge`, { attempt: 9, seq: 2 });
    expect(wrong.status).toBe(404);
  });

  it("aborts the shard at once when a stateless client goes", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    engine.answer = hangsAfter("Hello");
    const client = new AbortController();
    const response = await cell.put(aTurn(), { signal: client.signal });
    await response.body?.getReader().read();
    const goneMs = Date.now();
    client.abort();
    await until(() => engine.requests[0]?.isAborted === true);
    expect(Date.now() - goneMs).toBeLessThan(500);
    const metrics = await (await fetch(`${cell.url}/metrics`)).text();
    expect(metrics).toContain('meridian_shard_in_flight{shard="eu-west-1a/s-0"} 0');
  });

  it("tells who asks afterwards what a stateless turn came to whose client went", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    engine.answer = hangsAfter("Hello");
    const client = new AbortController();
    const turn = aTurn();
    const response = await cell.put(turn, { signal: client.signal });
    await response.body?.getReader().read();
    client.abort();
    await until(() => engine.requests[0]?.isAborted === true);
    const path = `/internal/turns/${turn.turnId}?attempt=${turn.attempt}&after=999999999`;
    const { frames, outcome } = await readStream(await cell.call("DELETE", path));
    expect(frames).toEqual([]);
    expect(outcome?.usage.completionTokens).toBe(1);
    expect((await cell.call("DELETE", path)).status).toBe(200);
  });

  it("aborts the shard when a stateless client goes before the first token", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    engine.answer = hangsAfter();
    const client = new AbortController();
    const gone = cell.put(aTurn(), { signal: client.signal }).catch(() => null);
    await until(() => engine.requests.length === 1);
    client.abort();
    await gone;
    await until(() => engine.requests[0]?.isAborted === true);
    expect(engine.requests).toHaveLength(1);
  });

  it("does not begin an attempt that was given up before it came", async ({ expect }) => {
    const cell = await aCell();
    const late = aDurableTurn({ attempt: 1 });
    const path = `/internal/turns/${late.turnId}`;
    expect((await cell.call("DELETE", `${path}?attempt=1`)).status).toBe(404);
    expect((await cell.put(late)).status).toBe(409);
    expect(cell.engines.flatMap(({ requests }) => requests)).toEqual([]);
    const next = await readStream(await cell.put({ ...late, attempt: 2 }));
    expect(next.outcome?.status).toBe("completed");
  });

  it("ends a durable turn by DELETE, tells its readers, and forgets its frames", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    engine.answer = hangsAfter("Hello");
    const turn = aDurableTurn();
    const response = await cell.put(turn);
    const path = `/internal/turns/${turn.turnId}`;
    expect((await cell.call("DELETE", `${path}?attempt=1`)).status).toBe(200);
    const stream = await readStream(response);
    expect(stream.frames.map(({ data }) => data)).not.toContain("[DONE]");
    await until(() => engine.requests[0]?.isAborted === true);
    expect((await cell.call("GET", `${path}/frames?attempt=1&after=0`)).status).toBe(404);
  });

  it("records the usage of stateless turns once, and none of durable ones", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    await (await cell.put(aTurn({ requestId: "req_stateless" }))).text();
    await (await cell.put(aDurableTurn())).text();
    await until(() => cell.usage.length > 0);
    expect(cell.usage).toMatchObject([
      { requestId: "req_stateless", tenant: "acme", promptTokens: 7, completionTokens: 3 },
    ]);
  });

  it("logs no content", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const engine = cell.engines[0];
    if (engine === undefined) throw new Error("no engine");
    engine.answer = says("CANARY-ANSWER");
    const body = { messages: [{ role: "user", content: "CANARY-PROMPT" }] };
    const engineRequest = {
      path: "chat/completions",
      model,
      body,
      promptTokensEstimate: 1,
      completionTokensMax: null,
    };
    await (await cell.put(aTurn({ engine: engineRequest }))).text();
    expect(cell.logLines.join("")).toContain("turn_ended");
    expect(cell.logLines.join("")).not.toContain("CANARY");
    expect(await (await fetch(`${cell.url}/metrics`)).text()).not.toContain("acme");
  });
});
