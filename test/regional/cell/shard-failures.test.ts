import type { ServerResponse } from "node:http";
import { describe, it } from "vitest";
import {
  apartMs,
  cutsAfter,
  deltaChunk,
  doneChunk,
  hangsAfter,
  refusesToContinue,
  openStream,
  refuses,
  says,
  startFakeEngine,
  usageChunk,
} from "#test/support/fake-engine.ts";
import type { EngineAnswer } from "#test/support/fake-engine.ts";
import {
  aCell,
  aCellOf,
  aDurableTurn,
  aTurn,
  contentOf,
  rankedEngines,
  readStream,
  until,
} from "./harness.ts";

function writes(
  head: Record<string, string>,
  ...parts: readonly (string | Uint8Array)[]
): EngineAnswer {
  return async (response: ServerResponse) => {
    response.writeHead(200, head);
    for (const part of parts) {
      response.write(part);
      await new Promise((resolve) => {
        setTimeout(resolve, apartMs);
      });
    }
    response.end();
  };
}
const sse = { "content-type": "text/event-stream" };

/** Answers that fail before anything of them could be shown, with the reason in the receipt. */
const beforeFirstToken: readonly (readonly [string, EngineAnswer, string])[] = [
  ["resets the connection", (response) => void response.destroy(), "unreachable"],
  ["breaks off after its head", cutsAfter(), "cut"],
  ["answers 500", refuses(500), "serverError"],
  ["answers 503", refuses(503), "serverError"],
  ["answers 429", refuses(429, "{}", { "retry-after": "1" }), "saturated"],
  ["answers 401", refuses(401), "unexpectedStatus"],
  ["answers 404", refuses(404), "unexpectedStatus"],
  ["redirects", refuses(307, "", { location: "http://169.254.169.254/" }), "unexpectedStatus"],
  ["answers HTML", writes({ "content-type": "text/html" }, "<html>"), "invalid"],
  [
    "answers another content type",
    writes({ "content-type": "application/octet-stream" }, deltaChunk("x")),
    "invalid",
  ],
  ["is compressed", writes({ ...sse, "content-encoding": "gzip" }, "x"), "invalid"],
  ["sends bytes that are no UTF-8", writes(sse, Buffer.from([0x64, 0xff, 0xfe])), "invalid"],
  ["sends broken JSON", writes(sse, "data: {\n\n"), "invalid"],
  ["sends an error chunk", writes(sse, 'data: {"error":{"message":"boom"}}\n\n'), "invalid"],
  ["says [DONE] and nothing else", writes(sse, doneChunk), "invalid"],
  ["ends without a word", writes(sse), "invalid"],
];

describe("a shard that fails before its first token", () => {
  for (const [what, answer, reason] of beforeFirstToken) {
    it(`is followed by another one: ${what}`, async ({ expect }) => {
      const cell = await aCell();
      const [first, second] = await rankedEngines(cell);
      first.answer = answer;
      const stream = await readStream(await cell.put(aTurn()));
      expect(contentOf(stream)).toBe("Hello world");
      expect(stream.outcome?.status).toBe("completed");
      expect(stream.outcome?.rejected.map((candidate) => candidate.reason)).toContain(reason);
      expect(second.requests).toHaveLength(1);
    });
  }

  it("is given up for another one when it is silent for too long", async ({ expect }) => {
    const cell = await aCell({ overrides: { turnPolicy: { firstTokenTimeoutMs: 200 } } });
    const [first] = await rankedEngines(cell);
    first.answer = hangsAfter();
    const stream = await readStream(await cell.put(aTurn()));
    expect(contentOf(stream)).toBe("Hello world");
    expect(stream.outcome?.rejected.map(({ reason }) => reason)).toContain("firstTokenTimeout");
    await until(() => first.requests[0]?.isAborted === true);
  });

  it("is not listening at all: 503 no_capacity_in_jurisdiction with Retry-After", async ({
    expect,
  }) => {
    const engine = await startFakeEngine();
    await engine.close();
    const cell = await aCellOf([engine]);
    const response = await cell.put(aTurn());
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("5");
    expect(response.headers.get("x-meridian-outcome")).not.toBeNull();
    expect(await response.json()).toMatchObject({ error: { code: "no_capacity_in_jurisdiction" } });
  });

  it("leaves no shard: 502 upstream_invalid after each was tried once", async ({ expect }) => {
    const cell = await aCell();
    for (const engine of cell.engines) engine.answer = refuses(500, '{"secret":"stack trace"}');
    const response = await cell.put(aDurableTurn());
    expect(response.status).toBe(502);
    expect(response.headers.get("x-should-retry")).toBe("false");
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ error: { code: "upstream_invalid" } });
    expect(text).not.toContain("stack trace");
    expect(cell.engines.map(({ requests }) => requests.length)).toEqual([1, 1]);
  });

  it("is never tried more than three times over all shards", async ({ expect }) => {
    const cell = await aCell({ engines: 5 });
    for (const engine of cell.engines) engine.answer = refuses(500);
    await (await cell.put(aTurn())).text();
    const tried = cell.engines.map(({ requests }) => requests.length);
    expect(tried.reduce((sum, count) => sum + count, 0)).toBe(3);
    expect(Math.max(...tried)).toBe(1);
  });

  it("is full like all others: 429 saturated with the shard's wait and x-overload", async ({
    expect,
  }) => {
    const cell = await aCell();
    for (const engine of cell.engines) engine.answer = refuses(429, "{}", { "retry-after": "2" });
    const response = await cell.put(aTurn());
    expect(response.status).toBe(429);
    expect(response.headers.get("x-overload")).toBe("cell");
    expect(response.headers.get("retry-after-ms")).toBe("2000");
  });
});

describe("what an engine refuses as the client's fault", () => {
  const cases: readonly (readonly [number, string, string, string | null])[] = [
    [
      400,
      '{"error":{"message":"CANARY is bad","param":"temperature"}}',
      "invalid_request",
      "temperature",
    ],
    [400, '{"error":{"message":"x","param":"CANARY with spaces"}}', "invalid_request", null],
    [
      400,
      '{"error":{"message":"This model\'s maximum context length is 10 tokens"}}',
      "context_length_exceeded",
      null,
    ],
    [422, "not json CANARY", "invalid_request", null],
    [413, "{}", "body_too_large", null],
  ];
  for (const [status, body, code, param] of cases) {
    it(`is returned in our words and not repeated: ${status} ${body}`, async ({ expect }) => {
      const cell = await aCell();
      for (const engine of cell.engines) engine.answer = refuses(status, body);
      const response = await cell.put(aTurn());
      const text = await response.text();
      expect(JSON.parse(text)).toMatchObject({ error: { code, param } });
      expect(text).not.toContain("CANARY");
      const tried = cell.engines.map(({ requests }) => requests.length);
      expect(tried.toSorted((left, right) => left - right)).toEqual([0, 1]);
    });
  }
});

/** Answers that fail after something of them was shown. */
const afterFirstToken: readonly (readonly [string, EngineAnswer])[] = [
  ["breaks off", cutsAfter("Hel")],
  ["ends without finish_reason", writes(sse, deltaChunk("Hel"))],
  ["ends without [DONE]", writes(sse, deltaChunk("Hel"), deltaChunk("", "stop"), usageChunk)],
  ["says [DONE] without finish_reason", writes(sse, deltaChunk("Hel"), doneChunk)],
  ["sends an error chunk", writes(sse, deltaChunk("Hel"), 'data: {"error":{"message":"x"}}\n\n')],
  ["sends garbage", writes(sse, deltaChunk("Hel"), Buffer.from([0x64, 0xff]))],
  ["ends inside a character", writes(sse, deltaChunk("Hel"), Buffer.from([0x3a, 0xf0, 0x9f]))],
];

describe("a shard that fails after its first token", () => {
  for (const [what, answer] of afterFirstToken) {
    it(`never ends in silence or as success, and frees its slot: ${what}`, async ({ expect }) => {
      const cell = await aCell({ engines: 1, overrides: { turnPolicy: { waitMsMax: 0 } } });
      const [engine] = cell.engines;
      if (engine === undefined) throw new Error("no engine");
      engine.answer = refusesToContinue(answer);
      const stream = await readStream(await cell.put(aTurn()));
      expect(contentOf(stream)).toBe("Hel");
      const last = stream.frames.at(-1)?.data ?? "";
      expect(JSON.parse(last)).toMatchObject({ error: { code: "interrupted" } });
      expect(stream.text).not.toContain("[DONE]");
      expect(stream.outcome).toMatchObject({
        status: "failed",
        error: { code: "interrupted" },
        mayMove: true,
      });
      const metrics = await (await fetch(`${cell.url}/metrics`)).text();
      expect(metrics).toContain('meridian_shard_in_flight{shard="eu-west-1a/s-0"} 0');
    });

    it(`is replaced whole when the client does not stream: ${what}`, async ({ expect }) => {
      const cell = await aCell();
      const [first] = await rankedEngines(cell);
      first.answer = answer;
      const response = await cell.put(aTurn({}, { stream: false }));
      expect(await response.json()).toMatchObject({
        choices: [{ message: { content: "Hello world" } }],
      });
    });

    // One that gave a finish reason is compared with another whole answer, and this one is not the same.
    if (what === "ends without [DONE]") continue;

    it(`is followed by another one, in one stream: ${what}`, async ({ expect }) => {
      const cell = await aCell();
      const [first, second] = await rankedEngines(cell);
      first.answer = answer;
      const stream = await readStream(await cell.put(aTurn()));
      expect(contentOf(stream)).toBe("Hello world");
      const chunks = stream.frames.flatMap(({ data }) => (data === "[DONE]" ? [] : [data]));
      expect(stream.text.match(/"role":"assistant"/g)).toHaveLength(1);
      expect(chunks.filter((data) => data.includes('"finish_reason":"stop"'))).toHaveLength(1);
      expect(stream.frames.filter(({ data }) => data === "[DONE]")).toHaveLength(1);
      expect(stream.outcome).toMatchObject({ status: "completed", continuations: 1 });
      expect(second.requests).toHaveLength(1);
    });
  }

  it("stalls: another one goes on, and the shard is told to stop", async ({ expect }) => {
    const cell = await aCell({ overrides: { turnPolicy: { stallMinMs: 200 } } });
    const [first] = await rankedEngines(cell);
    first.answer = hangsAfter("Hel");
    const stream = await readStream(await cell.put(aTurn()));
    expect(contentOf(stream)).toBe("Hello world");
    expect(stream.outcome?.status).toBe("completed");
    await until(() => first.requests[0]?.isAborted === true);
  });

  it("is continued in other words by an engine that begins again: an explicit error", async ({
    expect,
  }) => {
    const cell = await aCell();
    const [first, second] = await rankedEngines(cell);
    first.answer = cutsAfter("Hel");
    second.answer = says("Good day");
    const turn = aTurn() as unknown as { readonly engine: { readonly body: object } };
    const body = { ...turn.engine.body, response_format: { type: "json_object" } };
    const stream = await readStream(await cell.put(aTurn({ engine: { ...turn.engine, body } })));
    expect(contentOf(stream)).toBe("Hel");
    expect(stream.outcome).toMatchObject({ error: { code: "interrupted" }, mayMove: false });
    expect(JSON.parse(stream.frames.at(-1)?.data ?? "")).toMatchObject({
      error: { code: "interrupted" },
    });
  });

  it("passes its deadline: deadline_exceeded, as an event", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    engine.answer = hangsAfter("Hel");
    const stream = await readStream(await cell.put(aTurn({ deadlineMs: Date.now() + 300 })));
    expect(stream.outcome?.error?.code).toBe("deadline_exceeded");
  });

  it("keeps its stream open after [DONE]: the answer is whole at once", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    engine.answer = (response) => {
      openStream(response);
      response.write(deltaChunk("Hi", "stop") + usageChunk + doneChunk);
    };
    const stream = await readStream(await cell.put(aTurn()));
    expect(stream.outcome?.status).toBe("completed");
    await until(() => engine.requests[0]?.isAborted === true);
  });
});

describe("a breaker", () => {
  it("keeps new turns away from a shard that failed five times in a row", async ({ expect }) => {
    const cell = await aCell();
    const [first] = await rankedEngines(cell);
    first.answer = refuses(500);
    for (let turn = 0; turn < 8; turn += 1) await (await cell.put(aTurn())).text();
    expect(first.requests.length).toBe(5);
    const metrics = await (await fetch(`${cell.url}/metrics`)).text();
    expect(metrics).toContain('state="open"} 1');
  });

  it("is not moved by clients' faults", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const [engine] = cell.engines;
    if (engine === undefined) throw new Error("no engine");
    engine.answer = refuses(400);
    for (let turn = 0; turn < 8; turn += 1) await (await cell.put(aTurn())).text();
    engine.answer = says("well");
    expect(contentOf(await readStream(await cell.put(aTurn())))).toBe("well");
  });
});
