import { connect } from "node:net";
import { describe, it } from "vitest";
import {
  deltaChunk,
  doneChunk,
  hangsAfter,
  openStream,
  usageChunk,
} from "#test/support/fake-engine.ts";
import {
  aCell,
  aDurableTurn,
  aTurn,
  contentOf,
  readStream,
  signed,
  statusOnce,
  until,
} from "./harness.ts";

describe("who may call a cell", () => {
  it("refuses a call that is not signed, without a hint", async ({ expect }) => {
    const cell = await aCell();
    const response = await fetch(`${cell.url}/internal/turns/x?attempt=1`, {
      method: "PUT",
      body: "{}",
    });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ error: { code: "invalid_api_key" } });
  });

  it("refuses a replayed, an expired, a foreign and an altered call alike", async ({ expect }) => {
    const cell = await aCell();
    const turn = aTurn();
    const path = `/internal/turns/${turn.turnId}?attempt=1`;
    const body = JSON.stringify(turn);
    const good = signed("PUT", path, body);
    const send = async (headers: Record<string, string>, text = body, at = path) => {
      const response = await fetch(`${cell.url}${at}`, { method: "PUT", headers, body: text });
      return `${response.status} ${response.status === 401 ? await response.text() : ""}`;
    };
    expect(await send(good)).toBe("200 ");
    const answers = [
      await send(good),
      await send(signed("PUT", path, body, { timestampMs: Date.now() - 61_000 })),
      await send(signed("PUT", path, body, { timestampMs: Date.now() + 61_000 })),
      await send(signed("PUT", path, body, { cell: "us-east-1a" })),
      await send(signed("PUT", path, body), `${body} `),
      await send(signed("PUT", path, body), body, `${path}0`),
      await send(signed("GET", path, body)),
    ];
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toMatch(/^401 /);
    expect(cell.engines.flatMap(({ requests }) => requests)).toHaveLength(1);
  });

  it("guards every internal route", async ({ expect }) => {
    const cell = await aCell();
    for (const [method, path] of [
      ["GET", "/internal/turns/x/frames?attempt=1&after=0"],
      ["POST", "/internal/turns/x/acknowledge"],
      ["DELETE", "/internal/turns/x?attempt=1"],
      ["POST", "/internal/history"],
    ]) {
      const response = await fetch(`${cell.url}${path}`, { method: method ?? "" });
      expect(response.status, path).toBe(401);
    }
  });

  it("refuses a request of another jurisdiction or cell with 421 and dispatches nothing", async ({
    expect,
  }) => {
    const cell = await aCell();
    for (const turn of [aTurn({ jurisdiction: "us" }), aTurn({ cell: "eu-west-1b" })]) {
      const path = `/internal/turns/${turn.turnId}?attempt=1`;
      expect(await statusOnce(cell, "PUT", path, turn)).toBe(421);
    }
    const erase = {
      v: 1,
      kind: "erase",
      tenant: "a",
      jurisdiction: "us",
      conversationId: "c",
      fence: 1,
    };
    expect(await statusOnce(cell, "POST", "/internal/history", erase)).toBe(421);
    expect(cell.engines.flatMap(({ requests }) => requests)).toHaveLength(0);
  });

  it("refuses misshapen calls with 400", async ({ expect }) => {
    const cell = await aCell();
    const turn = aTurn();
    expect((await cell.put({ ...turn, surprise: 1 })).status).toBe(400);
    expect((await cell.put({ ...turn, lane: "fast" })).status).toBe(400);
    const id = String(turn.turnId);
    expect((await cell.call("PUT", `/internal/turns/${id}?attempt=2`, turn)).status).toBe(400);
    expect((await cell.call("PUT", "/internal/turns/other?attempt=1", turn)).status).toBe(400);
    expect((await cell.call("POST", `/internal/turns/${id}/acknowledge`, [])).status).toBe(400);
    expect((await cell.call("POST", "/internal/history", { kind: "drop" })).status).toBe(400);
  });

  it("refuses a body over 25 MiB with 413, also when its length is not declared", async ({
    expect,
  }) => {
    const cell = await aCell();
    const tooMuch = "x".repeat(25 * 1024 * 1024 + 1);
    const init = { method: "POST", duplex: "half" } as const;
    const declared = await fetch(`${cell.url}/internal/history`, { ...init, body: tooMuch });
    expect(declared.status).toBe(413);
    const stream = new Blob([tooMuch]).stream();
    const chunked = await fetch(`${cell.url}/internal/history`, { ...init, body: stream });
    expect(chunked.status).toBe(413);
  });

  it("refuses more than 100 headers and more than 16 KiB of them", async ({ expect }) => {
    const cell = await aCell();
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`x-${index}`, "1"]));
    expect((await fetch(`${cell.url}/healthz`, { headers: many })).status).toBe(431);
    expect(
      (await fetch(`${cell.url}/healthz`, { headers: { x: "y".repeat(17_000) } })).status,
    ).toBe(431);
  });

  it("refuses a request with both content-length and transfer-encoding", async ({ expect }) => {
    const cell = await aCell();
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(Number(new URL(cell.url).port), "127.0.0.1");
      socket.write(
        "POST /internal/history HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
      );
      socket.on("data", (data) => resolve(data.toString()));
      socket.on("error", () => resolve("closed"));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400/);
  });
});

describe("a cell under load", () => {
  it("queues a turn while every shard is full, and runs it when a slot is free", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1, concurrentRequestsMax: 1 });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    const release = Promise.withResolvers<void>();
    engine.answer = async (response) => {
      openStream(response);
      response.write(deltaChunk("Hi"));
      await release.promise;
      response.end(deltaChunk("", "stop") + usageChunk + doneChunk);
    };
    const first = await cell.put(aTurn());
    const second = cell.put(aTurn());
    await until(async () =>
      (await (await fetch(`${cell.url}/metrics`)).text()).includes(
        'meridian_queue_turns{class="interactive",model="sim/llama"} 1',
      ),
    );
    expect(engine.requests).toHaveLength(1);
    release.resolve();
    await first.text();
    const stream = await readStream(await second);
    expect(contentOf(stream)).toBe("Hi");
    expect(stream.outcome?.queueWaitMs).toBeGreaterThanOrEqual(0);
  });

  it("answers 429 saturated with x-overload when the queue is full or the wait is over", async ({
    expect,
  }) => {
    const waitMsMax = { critical: 100, interactive: 100, standard: 100, batch: 100 };
    const cell = await aCell({
      engines: 1,
      concurrentRequestsMax: 1,
      overrides: { queuePolicy: { waitingPerModelMax: 1, waitMsMax } },
    });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    engine.answer = hangsAfter("Hi");
    await cell.put(aDurableTurn());
    const both = await Promise.all([cell.put(aTurn()), cell.put(aTurn())]);
    for (const response of both) {
      expect(response.status).toBe(429);
      expect(response.headers.get("x-overload")).toBe("cell");
      expect(response.headers.get("x-should-retry")).toBe("true");
      expect(Number(response.headers.get("retry-after-ms"))).toBeGreaterThan(0);
      expect(await response.json()).toMatchObject({ error: { code: "saturated" } });
    }
    expect(engine.requests).toHaveLength(1);
  });

  it("answers 503 for a model that no shard of the cell serves", async ({ expect }) => {
    const cell = await aCell();
    const turn = aTurn();
    const engine = { ...(turn["engine"] as object), model: "sim/other" };
    const response = await cell.put({ ...turn, engine });
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ error: { code: "no_capacity_in_jurisdiction" } });
  });

  it("reads no more from the shard than a slow stateless reader takes, within bounded memory", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1, overrides: { turnPolicy: { stallMinMs: 300 } } });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    let sentBytes = 0;
    const totalBytes = 14 * 1024 * 1024;
    engine.answer = async (response) => {
      openStream(response);
      const piece = deltaChunk("x".repeat(16 * 1024));
      while (sentBytes < totalBytes && !response.destroyed) {
        sentBytes += piece.length;
        if (!response.write(piece)) await new Promise((resolve) => response.once("drain", resolve));
      }
      response.end(deltaChunk("", "stop") + usageChunk + doneChunk);
    };
    const response = await cell.put(aTurn());
    let seen = -1;
    // The engine stands still once buffers and sockets are full, far from its end.
    await until(async () => {
      const isStill = sentBytes === seen;
      seen = sentBytes;
      await new Promise((resolve) => {
        setTimeout(resolve, 400);
      });
      return isStill && sentBytes > 0;
    });
    expect(sentBytes).toBeLessThan(totalBytes);
    const metrics = await (await fetch(`${cell.url}/metrics`)).text();
    const held = Number(/meridian_frame_buffer_bytes (\d+)/.exec(metrics)?.[1]);
    expect(held).toBeLessThan(1024 * 1024);
    const stream = await readStream(response);
    expect(stream.outcome?.status).toBe("completed");
  });

  it("interrupts a durable turn whose unread frames outgrow their bound", async ({ expect }) => {
    const cell = await aCell({ engines: 1, overrides: { registryPolicy: { turnBytesMax: 4096 } } });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    engine.answer = (response) => {
      openStream(response);
      for (let index = 0; index < 10; index += 1) response.write(deltaChunk("y".repeat(1000)));
    };
    const stream = await readStream(await cell.put(aDurableTurn()));
    expect(stream.outcome?.error?.code).toBe("interrupted");
    expect(stream.text).not.toContain("[DONE]");
    await until(() => engine.requests[0]?.isAborted === true);
  });

  it("refuses new turns with 429 when the frames of all turns fill the cell", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1, overrides: { bufferBytesMax: 1000 } });
    await (await cell.put(aDurableTurn())).text();
    const response = await cell.put(aDurableTurn());
    expect(response.status).toBe(429);
    expect(response.headers.get("x-overload")).toBe("cell");
  });
});

describe("a cell that is being shut down", () => {
  it("lets running turns end, takes no new ones, and says so in /readyz", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    const release = Promise.withResolvers<void>();
    engine.answer = async (response) => {
      openStream(response);
      response.write(deltaChunk("Hi"));
      await release.promise;
      response.end(deltaChunk("", "stop") + usageChunk + doneChunk);
    };
    await until(async () => (await fetch(`${cell.url}/readyz`)).status === 200);
    const turn = aDurableTurn();
    const running = await cell.put(turn);
    const drained = cell.drain(10_000);
    const refused = await cell.put(aTurn());
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: "draining" } });
    const ready = await fetch(`${cell.url}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ reasons: expect.arrayContaining(["draining"]) });
    const joined = cell.put(turn);
    release.resolve();
    expect(contentOf(await readStream(running))).toBe("Hi");
    expect(contentOf(await readStream(await joined))).toBe("Hi");
    await drained;
  });

  it("interrupts what still runs at the end of its time, with an event", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    engine.answer = hangsAfter("Hi");
    const running = await cell.put(aTurn());
    await cell.drain(50);
    const stream = await readStream(running);
    expect(stream.outcome?.error?.code).toBe("interrupted");
  });

  it("is not ready before a shard has given a sign of life", async ({ expect }) => {
    const cell = await aCell({ engines: 0 });
    const response = await fetch(`${cell.url}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({
      reasons: expect.arrayContaining(["noUsableShard"]),
    });
    expect((await fetch(`${cell.url}/healthz`)).status).toBe(200);
  });
});
