import { describe, it, onTestFinished } from "vitest";
import { startSimulatedEngine } from "#dev/simulated-engine/start.ts";
import { defaultPrewarmPolicy } from "#shared/admission/prewarm-budget.ts";
import { hangsAfter, refuses, says } from "#test/support/fake-engine.ts";
import type { FakeEngine } from "#test/support/fake-engine.ts";
import {
  aCell,
  aCellOf,
  aDurableTurn,
  aTurn,
  fakeHistory,
  model,
  rankedEngines,
  readStream,
  statusOnce,
  until,
} from "./harness.ts";
import type { TestCell } from "./harness.ts";

const path = "/internal/prewarm";
const history = Array.from({ length: 40 }, (_, index) => ({
  role: index % 2 === 0 ? "user" : "assistant",
  content: `Message number ${index} of a conversation that is long enough to be worth caching.`,
}));

function aPrewarm(more: Record<string, unknown> = {}) {
  return {
    v: 1,
    tenant: "acme",
    jurisdiction: "eu",
    conversationId: "conv_eu_1",
    model,
    shard: null,
    affinityKey: "affinity",
    body: { messages: history, temperature: 1.5, n: 3, response_format: { type: "json_object" } },
    promptTokensEstimate: 800,
    requestId: "req_1",
    ...more,
  };
}

async function warm(cell: TestCell, more: Record<string, unknown> = {}): Promise<unknown> {
  return (await cell.call("POST", path, aPrewarm(more))).json();
}

/** A cell whose shards are two simulated engines. */
async function aSimulatedCell(): Promise<TestCell> {
  const engines: FakeEngine[] = [];
  for (let index = 0; index < 2; index += 1) {
    const engine = await startSimulatedEngine({ port: 0, model });
    onTestFinished(() => engine.close());
    const nothing = {
      requests: [],
      answer: says(),
      health: 200,
      metrics: null,
      close: async () => {},
    };
    engines.push({ ...nothing, url: engine.url });
  }
  return aCellOf(engines);
}

function nextTurn(homeShard: string | null, tenant = "acme") {
  const messages = [...history, { role: "user", content: "And what comes next?" }];
  return aDurableTurn({
    tenant,
    affinity: { homeShard, key: "affinity" },
    engine: {
      path: "chat/completions",
      model,
      body: { messages, max_tokens: 5 },
      promptTokensEstimate: 800,
      completionTokensMax: 5,
    },
  });
}

describe("a prewarm", () => {
  it("lets the conversation's next turn find its history cached on the shard named", async ({
    expect,
  }) => {
    const cell = await aSimulatedCell();
    for (const shard of ["eu-west-1a/s-0", "eu-west-1a/s-1"]) {
      const cold = await warm(cell, { shard });
      expect(cold).toMatchObject({ kind: "warmed", shard, cachedTokens: 0 });
      const { outcome } = await readStream(await cell.put(nextTurn(shard)));
      expect(outcome?.shard).toBe(shard);
      const { cachedTokens = 0, promptTokens = 0 } = outcome?.usage ?? {};
      expect(cachedTokens).toBeGreaterThan(0.9 * promptTokens);
    }
  });

  it("warms nothing for another tenant", async ({ expect }) => {
    const cell = await aSimulatedCell();
    await warm(cell, { shard: "eu-west-1a/s-0" });
    const turn = nextTurn("eu-west-1a/s-0", "globex");
    const { outcome } = await readStream(await cell.put(turn));
    expect(outcome?.usage.cachedTokens).toBe(0);
  });

  it("goes to the shard that a turn with the key gets when none is named", async ({ expect }) => {
    const cell = await aSimulatedCell();
    const { outcome } = await readStream(await cell.put(nextTurn(null, "initech")));
    expect(await warm(cell)).toMatchObject({ kind: "warmed", shard: outcome?.shard });
  });

  it("asks the engine for one token of one answer, and for nothing else", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    await warm(cell, { body: { messages: history, tools: [], n: 3, stop: "x", seed: 4 } });
    const [seen] = cell.engines[0]?.requests ?? [];
    expect(seen?.body).toMatchObject({ messages: history, tools: [], max_tokens: 1 });
    expect(Object.keys(seen?.body ?? {})).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(n|stop|seed|response_format)$/)]),
    );
  });

  it("is limited to the shard's share, and says how long to wait", async ({ expect }) => {
    const prewarmPolicy = { ...defaultPrewarmPolicy, prefillTokensPerSecondDefault: 100 };
    const cell = await aCell({ engines: 1, overrides: { prewarmPolicy } });
    expect(await warm(cell)).toMatchObject({ kind: "warmed" });
    const second = await warm(cell);
    expect(second).toMatchObject({ kind: "limited" });
    expect((second as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(1_000);
    expect(cell.engines[0]?.requests).toHaveLength(1);
  });

  it("takes a slot of the shard while it runs, and gives it back", async ({ expect }) => {
    const cell = await aCell({ engines: 1, concurrentRequestsMax: 1 });
    const [engine] = cell.engines;
    if (engine !== undefined) engine.answer = hangsAfter("x");
    const busy = await cell.put(aTurn());
    expect(await warm(cell)).toEqual({ kind: "unavailable", reason: "full" });
    await busy.body?.cancel();
    if (engine !== undefined) engine.answer = says("x");
    await until(async () => ((await warm(cell)) as { kind: string }).kind === "warmed");
    const { outcome } = await readStream(await cell.put(aTurn()));
    expect(outcome?.status).toBe("completed");
  });

  it("is refused by a shard that is drained, fails, or is not of this cell", async ({ expect }) => {
    const cell = await aCell();
    const shard = "eu-west-1a/s-0";
    expect(await warm(cell, { shard: "us-east-1a/s-0" })).toMatchObject({ reason: "noShard" });
    expect(await warm(cell, { model: "none" })).toMatchObject({ reason: "noShard" });
    await cell.call("POST", "/internal/shards", { kind: "drain", shard, deadlineMs: 0 });
    expect(await warm(cell, { shard })).toEqual({ kind: "unavailable", reason: "draining" });
    for (const engine of cell.engines) engine.answer = refuses(500);
    expect(await warm(cell)).toEqual({ kind: "unavailable", reason: "serverError" });
  });

  it("is refused when it is misshapen, unsigned, or of another jurisdiction", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const wrong = await cell.call("POST", path, aPrewarm({ v: 2 }));
    const unsigned = await fetch(`${cell.url}${path}`, { method: "POST", body: "{}" });
    const foreign = await statusOnce(cell, "POST", path, aPrewarm({ jurisdiction: "us" }));
    expect([wrong.status, unsigned.status, foreign]).toEqual([400, 401, 421]);
    expect(cell.engines[0]?.requests).toEqual([]);
  });
});

describe("the warm conversations of a drained shard", () => {
  const items = [
    {
      id: "msg_1",
      type: "message",
      seq: 1,
      turnId: null,
      createdAtMs: 1,
      json: '{"id":"msg_1","type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}',
    },
  ];

  it("are computed where their next turn goes, before that turn", async ({ expect }) => {
    const read = async () => items;
    const cell = await aCell({ overrides: { history: { ...fakeHistory([]), read } } });
    const [first, second] = await rankedEngines(cell);
    const { outcome } = await readStream(await cell.put(aDurableTurn()));
    const shard = outcome?.shard;
    await cell.call("POST", "/internal/shards", { kind: "drain", shard, deadlineMs: 60_000 });
    await until(() => second.requests.length === 1);
    expect(second.requests[0]?.body).toMatchObject({
      max_tokens: 1,
      messages: [{ role: "user", content: "hi" }],
    });
    expect(first.requests).toHaveLength(1);
  });

  it("are left to their next turn when they were erased, or the database is away", async ({
    expect,
  }) => {
    const reads: string[] = [];
    const read = async (_tenant: string, conversationId: string) => {
      reads.push(conversationId);
      return "unavailable" as const;
    };
    const cell = await aCell({ overrides: { history: { ...fakeHistory([]), read } } });
    const [, second] = await rankedEngines(cell);
    await readStream(await cell.put(aDurableTurn({ conversationId: "conv_eu_1" })));
    const last = aDurableTurn({ conversationId: "conv_eu_2" });
    const { outcome } = await readStream(await cell.put(last));
    await cell.call("POST", "/internal/history", {
      v: 1,
      kind: "erase",
      tenant: "acme",
      jurisdiction: "eu",
      conversationId: "conv_eu_1",
      fence: 1,
    });
    const { shard } = outcome ?? {};
    await cell.call("POST", "/internal/shards", { kind: "drain", shard, deadlineMs: 60_000 });
    await until(() => reads.length > 0);
    expect(reads).toEqual(["conv_eu_2"]);
    expect(second.requests).toEqual([]);
  });
});
