import {
  createExecutionContext,
  listDurableObjectIds,
  runInDurableObject,
  waitOnExecutionContext,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import worker from "#edge/index.ts";
import type { ScopeState } from "#shared/budget/scope.ts";
import type { Limits } from "#shared/config/limits.ts";
import { formatOutcomeBlock } from "#shared/protocol/internal/stream.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { testKeys } from "#test/support/edge-keys.ts";
import { FakeCells, contentFrames, errorAnswer, healthyAnswer, outcomeOf } from "./fake-cell.ts";

const chat = "/v1/chat/completions";
const hello = { model: "sim/llama", messages: [{ role: "user", content: "Say hello" }] };
const nightly = "mk_eu_acme_nightly0123456789abcdef";

async function digest(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The tests' bindings with limits of the tenant `acme`, and of its key `nightly`. */
async function bindingsWith(limits: Limits, ofNightly: Limits = {}): Promise<typeof env> {
  const { TOPOLOGY } = env as unknown as { readonly TOPOLOGY: string };
  const topology = JSON.parse(TOPOLOGY) as { tenants: { acme: object } };
  const digests = [`sha256:${await digest(nightly)}`];
  const keys = ["env:ACME_KEY_SHA256", { id: "nightly", digests, limits: ofNightly }];
  topology.tenants.acme = { ...topology.tenants.acme, limits, keys };
  const changed: object = { TOPOLOGY: JSON.stringify(topology) };
  return { ...env, ...changed };
}

function aRequest(body: object, options: { key?: string; headers?: Record<string, string> } = {}) {
  const { key = testKeys.acme, headers = {} } = options;
  return new Request(`http://eu.localhost${chat}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

async function send(
  bindings: typeof env,
  body: object = hello,
  options: Parameters<typeof aRequest>[1] = {},
) {
  const context = createExecutionContext();
  const response = await worker.fetch(aRequest(body, options) as never, bindings, context);
  const text = await response.text();
  await waitOnExecutionContext(context);
  const { status, headers } = response;
  return { status, headers, code: /"code":"(\w+)"/.exec(text)?.[1] ?? null };
}

/** What the one ledger of a test holds of a scope. */
async function ledger(scope = "tenant") {
  const [id] = await listDurableObjectIds(env.TENANT_LEDGER);
  if (id === undefined) throw new Error("no ledger was asked");
  return runInDurableObject(env.TENANT_LEDGER.get(id), (_, { storage }) => {
    const row = storage.sql
      .exec<{ state: string }>("SELECT state FROM scopes WHERE id = ?", scope)
      .one();
    const state = JSON.parse(row.state) as ScopeState;
    return {
      open: state.openCount,
      tokens: state.window.slots.reduce((sum, { tokens }) => sum + tokens, 0),
      microUsd: state.spending.dayMicroUsd,
      reservedMicroUsd: state.reservedMicroUsd,
    };
  });
}

let cells: FakeCells;

beforeEach(() => {
  cells = new FakeCells();
  vi.spyOn(globalThis, "fetch").mockImplementation(cells.fetch);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Every limit at once, wide enough for one request. */
const wide: Limits = {
  tokensPerMinute: 10_000,
  concurrentRequestsMax: 1,
  budgetMicroUsdPerDay: 1_000_000,
};
/** A cell's usage of these tests is 10 tokens of prompt at 0.1 and 3 of answer at 0.2 micro-dollars, rounded up. */
const charged = { open: 0, tokens: 13, microUsd: 2, reservedMicroUsd: 0 };
const nothing = { open: 0, tokens: 0, microUsd: 0, reservedMicroUsd: 0 };

describe("the headers of an answer", () => {
  it("name every limit of tenant and key, and what is left of it", async () => {
    const bindings = await bindingsWith(
      { requestsPerMinute: 60, tokensPerMinute: 20_000, budgetMicroUsdPerMonth: 9_000_000 },
      { concurrentRequestsMax: 4, requestsPerSecond: 5, requestsBurstMax: 10 },
    );
    for (const stream of [false, true]) {
      const { headers } = await send(bindings, { ...hello, stream }, { key: nightly });
      const policy = headers.get("ratelimit-policy") ?? "";
      expect(policy).toContain('"requests";q=60;qu="requests";w=60, "tokens";q=20000;qu="tokens"');
      expect(policy).toMatch(/"budget-month";q=9000000;qu="micro-usd";w=\d{7}/);
      expect(policy).toContain('"key-burst";q=10;qu="requests";w=2');
      expect(policy).toMatch(/"key-concurrent";q=4;qu="concurrent-requests"$/);
      expect(headers.get("ratelimit")).toContain(`"requests";r=${stream ? 58 : 59};t=60`);
      expect(headers.get("ratelimit")).toMatch(/"key-concurrent";r=3$/);
      expect(headers.get("x-ratelimit-limit-requests")).toBe("10");
      expect(headers.get("x-ratelimit-limit-tokens")).toBe("20000");
      expect(Number(headers.get("x-ratelimit-remaining-tokens"))).toBeLessThan(20_000);
      expect(headers.get("x-ratelimit-reset-tokens")).toBe("1m0s");
    }
  });

  it("name the starting policy where nothing else limits the key's requests", async () => {
    const { headers } = await send(await bindingsWith({}));
    expect(headers.get("ratelimit-policy")).toBe('"key-burst";q=1000;qu="requests";w=10');
    expect(headers.get("ratelimit")).toBe('"key-burst";r=999;t=1');
  });
});

describe("a refused request", () => {
  it("is told to wait when waiting helps", async () => {
    const bindings = await bindingsWith({ requestsPerMinute: 1 });
    await send(bindings);
    const { status, code, headers } = await send(bindings);
    expect({ status, code }).toEqual({ status: 429, code: "rate_limited" });
    expect(headers.get("x-should-retry")).toBe("true");
    const waitMs = Number(headers.get("retry-after-ms"));
    expect(waitMs).toBeGreaterThan(50_000);
    expect(waitMs).toBeLessThanOrEqual(60_000);
    expect(headers.get("retry-after")).toBe(String(Math.ceil(waitMs / 1000)));
    expect(headers.get("ratelimit")).toMatch(/"requests";r=0;t=(?:5\d|60)/);
    expect(cells.turns).toHaveLength(1);
  });

  it.each<{ readonly why: string; readonly limits: Limits; readonly body: object }>([
    {
      why: "is larger than the whole limit",
      limits: { tokensPerMinute: 100 },
      body: { ...hello, max_tokens: 100 },
    },
    {
      why: "may cost more than a day's budget",
      limits: { budgetMicroUsdPerDay: 100 },
      body: { ...hello, max_tokens: 1_000 },
    },
    {
      why: "has no bound and may cost more",
      limits: { budgetMicroUsdPerMonth: 26_000 },
      body: hello,
    },
  ])("is told not to try again when it $why", async ({ limits, body }) => {
    const { status, code, headers } = await send(await bindingsWith(limits), body);
    expect({ status, code }).toEqual({ status: 429, code: "insufficient_quota" });
    expect(headers.get("x-should-retry")).toBe("false");
    expect(headers.get("retry-after")).toBeNull();
    expect(headers.get("ratelimit")).not.toBeNull();
    expect(cells.turns).toHaveLength(0);
  });

  it("of one key leaves the tenant's other keys alone", async () => {
    const bindings = await bindingsWith({}, { requestsPerMinute: 1 });
    await send(bindings, hello, { key: nightly });
    expect((await send(bindings, hello, { key: nightly })).status).toBe(429);
    expect((await send(bindings)).status).toBe(200);
  });
});

describe("a turn is settled by what its cell counted", () => {
  it.each([
    { title: "a whole answer", body: hello, headers: {} },
    { title: "a stream", body: { ...hello, stream: true }, headers: {} },
    { title: "a stored answer", body: { ...hello, store: true }, headers: {} },
    { title: "a stored stream", body: { ...hello, store: true, stream: true }, headers: {} },
    { title: "an answer under a key", body: hello, headers: { "idempotency-key": "k" } },
  ])("$title", async ({ body, headers }) => {
    const { status } = await send(await bindingsWith(wide), body, { headers });
    expect(status).toBe(200);
    expect(await ledger()).toEqual(charged);
    expect(await ledger("key:default")).toEqual({ ...charged, tokens: 0 });
  });

  it("a repeat under an idempotency key costs nothing", async () => {
    const bindings = await bindingsWith(wide);
    const headers = { "idempotency-key": "twice" };
    await send(bindings, hello, { headers });
    await send(bindings, hello, { headers });
    expect(cells.turns).toHaveLength(1);
    expect(await ledger()).toEqual(charged);
  });

  it("a turn that no cell took costs nothing", async () => {
    cells.answers = () => errorAnswer(429, "saturated");
    expect((await send(await bindingsWith(wide))).status).toBe(429);
    expect(await ledger()).toEqual(nothing);
  });
});

/** A cell's stream with one frame before its client goes, and one after: the write that fails. */
function openStream(left: Promise<void>) {
  return (turn: TurnRequest): Response => {
    const [first, second] = contentFrames(turn).map((text) => new TextEncoder().encode(text));
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(first);
        await left;
        controller.enqueue(second);
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
}

/** Begins a stream, reads its first frame, and goes; background work is waited for. */
async function readAndLeave(bindings: typeof env): Promise<void> {
  const left = Promise.withResolvers<void>();
  cells.answers = openStream(left.promise);
  const context = createExecutionContext();
  const request = aRequest({ ...hello, stream: true, max_tokens: 100 });
  const response = await worker.fetch(request as never, bindings, context);
  const reader = response.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  left.resolve();
  await waitOnExecutionContext(context);
}

describe("a stream of the stateless lane whose client went", () => {
  const turnOf = (): TurnRequest => {
    const turn = cells.turns[0]?.turn;
    if (turn === null || turn === undefined) throw new Error("no turn was asked for");
    return turn;
  };

  it("is charged what the cell counted when it was told to stop", async () => {
    cells.stop = () => {
      const usage = { promptTokens: 10, completionTokens: 1, cachedTokens: 0, reasoningTokens: 0 };
      const outcome = outcomeOf(turnOf(), { status: "failed", usage });
      return new Response(formatOutcomeBlock(JSON.stringify(outcome)));
    };
    await readAndLeave(await bindingsWith(wide));
    expect(await ledger()).toEqual({ ...charged, tokens: 11 });
  });

  it("is charged all that was reserved when no cell can say it", async () => {
    cells.stop = () => Response.json({ kind: "ok" });
    await readAndLeave(await bindingsWith(wide));
    const { open, tokens, microUsd, reservedMicroUsd } = await ledger();
    expect({ open, reservedMicroUsd }).toEqual({ open: 0, reservedMicroUsd: 0 });
    expect(tokens).toBeGreaterThan(100);
    expect(microUsd).toBeGreaterThan(20);
  });

  it("is charged nothing when the turn never ran there", async () => {
    cells.stop = () => errorAnswer(404, "not_found");
    await readAndLeave(await bindingsWith(wide));
    expect(await ledger()).toEqual(nothing);
  });

  it("frees its place for the next one", async () => {
    const bindings = await bindingsWith(wide);
    await readAndLeave(bindings);
    cells.answers = healthyAnswer;
    expect((await send(bindings)).status).toBe(200);
  });
});
