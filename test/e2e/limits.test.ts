import { createHash } from "node:crypto";
import { Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Limits } from "#shared/config/limits.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { edgeBindings, testTopology } from "#test/support/edge-bindings.ts";
import { buildEdge } from "#test/residency/recorded-edge.ts";
import { healthyAnswer } from "#test/workerd/edge/fake-cell.ts";

/** Requests at once, and the Workers that they are spread over, each an isolate of its own. */
const requests = 1_000;
const workers = 4;

const keyOf = (tenant: string): string => `mk_eu_${tenant}_0123456789abcdefghijklmnop`;
const digestOf = (key: string): string => createHash("sha256").update(key).digest("hex");

/** Each request may have 100 tokens of answer; cells count 10 of prompt and 3 of answer, which costs 2 micro-dollars. */
const body = {
  model: "sim/llama",
  messages: [{ role: "user", content: "Say hello" }],
  max_tokens: 100,
};
const chargedMicroUsd = 2;

const tenants: Readonly<Record<string, { readonly limits?: Limits; readonly ofKey?: Limits }>> = {
  rate: { limits: { requestsPerMinute: 123 } },
  "key-rate": { ofKey: { requestsPerMinute: 77 } },
  burst: { ofKey: { requestsPerSecond: 1, requestsBurstMax: 150 } },
  concurrent: { limits: { concurrentRequestsMax: 37 } },
  tokens: { limits: { tokensPerMinute: 5_000 } },
  budget: { limits: { budgetMicroUsdPerDay: 500 } },
};

let edge: Miniflare;
/** Turns that the cells run now, and the most at once. */
const running = { now: 0, most: 0 };
/** Cells answer once it is open. */
let gate = { isOpen: Promise.resolve(), open: (): void => undefined };

/** Sends requests at once from inside the runtime, over all Workers; counts statuses, and opens the gate when it may. */
const driver = `export default {
  async fetch(request, env) {
    const { key, body, requests, workers, opensAfter } = await request.json();
    const statuses = {};
    let refused = 0;
    await Promise.all(Array.from({ length: requests }, async (_, number) => {
      const answer = await env["EDGE_" + (number % workers)].fetch("http://eu.localhost/v1/chat/completions", {
        method: "POST",
        headers: { authorization: "Bearer " + key, "content-type": "application/json" },
        body,
      });
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
      if (answer.status === 429) refused += 1;
      if (answer.status === 429 && refused === opensAfter) await fetch("http://gate.test/");
      await answer.text();
    }));
    return Response.json(statuses);
  },
};`;

async function cell(outgoing: { url: string; method: string; text(): Promise<string> }) {
  if (outgoing.method !== "PUT") return Response.json([]);
  const turn = JSON.parse(await outgoing.text()) as TurnRequest;
  running.now += 1;
  running.most = Math.max(running.most, running.now);
  await gate.isOpen;
  running.now -= 1;
  return healthyAnswer(turn);
}

beforeAll(async () => {
  const bundle = buildEdge();
  const topology = {
    ...testTopology,
    tenants: {
      ...testTopology.tenants,
      ...Object.fromEntries(
        Object.entries(tenants).map(([name, { limits = {}, ofKey = {} }]) => {
          const digests = [`sha256:${digestOf(keyOf(name))}`];
          const keys = [{ id: "one", digests, limits: ofKey }];
          return [name, { jurisdiction: "eu", priority: "standard", keys, limits }];
        }),
      ),
    },
  };
  const own = (className: string) => ({ className, useSQLite: true });
  const shared = (className: string) => ({ className, scriptName: "edge-0", useSQLite: true });
  const names = Array.from({ length: workers }, (_, index) => `edge-${index}`);
  edge = new Miniflare({
    cf: false,
    workers: [
      {
        name: "driver",
        modules: true,
        script: driver,
        compatibilityDate: "2026-07-01",
        serviceBindings: Object.fromEntries(names.map((name, index) => [`EDGE_${index}`, name])),
        outboundService: () => {
          gate.open();
          return new Response("open") as never;
        },
      },
      ...names.map((name, index) => ({
        name,
        modules: bundle.map((module) => ({ ...module })),
        compatibilityDate: "2026-07-01",
        compatibilityFlags: ["enable_request_signal"],
        bindings: { ...edgeBindings, DEV_PROXY: "none", TOPOLOGY: JSON.stringify(topology) },
        durableObjects: {
          CONVERSATION: (index === 0 ? own : shared)("Conversation"),
          TENANT_LEDGER: (index === 0 ? own : shared)("TenantLedger"),
        },
        // Two classes called Response: Node's does what Miniflare reads of its own.
        outboundService: async (outgoing: Parameters<typeof cell>[0]) =>
          (await cell(outgoing)) as never,
      })),
    ],
  });
  await edge.ready;
});

afterAll(async () => {
  await edge?.dispose();
});

/** Sends the requests at once; `opensAfter` refusals open the gate. */
async function flood(tenant: string, opensAfter = 0): Promise<Record<string, number>> {
  const asked = { key: keyOf(tenant), body: JSON.stringify(body), requests, workers, opensAfter };
  const answer = await edge.dispatchFetch("http://driver/", {
    method: "POST",
    body: JSON.stringify(asked),
  });
  return (await answer.json()) as Record<string, number>;
}

it.each([
  ["rate", 123],
  ["key-rate", 77],
])(
  "a thousand requests at once over four Workers never overshoot a limit: %s",
  async (tenant, limit) => {
    expect(await flood(tenant)).toEqual({ 200: limit, 429: requests - limit });
  },
);

it("nor a burst and its rate", async () => {
  const begunMs = Date.now();
  const { 200: admitted = 0 } = await flood("burst");
  expect(admitted).toBeGreaterThanOrEqual(150);
  expect(admitted).toBeLessThanOrEqual(150 + (Date.now() - begunMs) / 1000);
});

it("nor the requests at once, while those that were admitted run", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  gate = { isOpen: promise, open: resolve };
  running.most = 0;
  expect(await flood("concurrent", requests - 37)).toEqual({ 200: 37, 429: requests - 37 });
  expect(running.most).toBe(37);
});

it("nor the tokens of a minute", async () => {
  const { 200: admitted = 0 } = await flood("tokens");
  expect(admitted).toBeGreaterThan(1);
  expect(admitted * 13).toBeLessThanOrEqual(5_000);
});

it("nor a day's money", async () => {
  const { 200: admitted = 0 } = await flood("budget");
  expect(admitted).toBeGreaterThan(1);
  expect(admitted * chargedMicroUsd).toBeLessThanOrEqual(500);
});
