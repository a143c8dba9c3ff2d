import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { HistoryCommand } from "#shared/protocol/internal/history.ts";
import { historyLink } from "#shared/protocol/internal/history.ts";
import { testKeys } from "#test/support/edge-keys.ts";
import { MemoryHistory } from "#test/support/memory-history.ts";
import type { Kept } from "#test/support/memory-history.ts";
import { call } from "./edge-client.ts";
import { FakeCells } from "./fake-cell.ts";

const admin = { key: testKeys.admin };
const model = "sim/llama";
const forged = `conv_eu_${"b".repeat(8)}_${"a".repeat(16)}_${"c".repeat(22)}`;
const pathOf = (id: unknown): string => `/admin/v1/conversations/${String(id)}/migrate`;

let cells: FakeCells;
let databases: Map<string, MemoryHistory>;
let prewarmed: string[];

async function chainOf(items: readonly Kept[]): Promise<string> {
  let chain = "";
  for (const item of items) {
    const bytes = new TextEncoder().encode(historyLink(chain, item));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    chain = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return chain;
}

beforeEach(() => {
  cells = new FakeCells();
  prewarmed = [];
  databases = new Map(
    ["eu-west-1a.test", "eu-central-1a.test"].map((host) => [host, new MemoryHistory(() => "")]),
  );
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input, init);
    const { hostname, pathname } = new URL(request.url);
    const database = databases.get(hostname);
    if (pathname === "/internal/prewarm") {
      const shard = `${hostname.replace(".test", "")}/llama-0`;
      prewarmed.push(shard);
      return Response.json({ kind: "warmed", shard, promptTokens: 40, cachedTokens: 8 });
    }
    if (pathname !== "/internal/history" || database === undefined) return cells.fetch(request);
    const reply = database.execute((await request.json()) as HistoryCommand);
    return Response.json(
      reply.kind === "sealed" ? { ...reply, chain: await chainOf(database.items) } : reply,
    );
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** A conversation with one turn, and the cell where it is at home. */
async function aConversation(): Promise<{ readonly id: unknown; readonly cell: string }> {
  const { id } = (await call("/v1/conversations", { body: {} })).json();
  const turn = await call("/v1/responses", { body: { model, input: "Hi", conversation: id } });
  expect(turn.status).toBe(200);
  return { id, cell: cells.turns.at(-1)?.cell ?? "" };
}

const otherRegion: Readonly<Record<string, string>> = {
  "eu-west-1a": "eu-central-1",
  "eu-central-1a": "eu-west-1",
};

/** The place of a conversation once its move has ended. */
async function placeOf(id: unknown) {
  return vi.waitFor(
    async () => {
      const answer = (await call(pathOf(id), admin)).json();
      expect(answer["move"]).toMatchObject({ state: "done", old_copy: "gone" });
      return answer;
    },
    { timeout: 4_500, interval: 50 },
  );
}

describe.each(["GET", "POST"])("%s migrate", (method) => {
  const body = method === "POST" ? { region: "eu-central-1" } : undefined;

  it.each([
    ["no key", null, "eu.localhost", 401],
    ["a forged operator's key", "mk_admin_zzzzzzzzzzzzzzzzzzzzzzzzzz", "eu.localhost", 401],
    ["the tenant's own key", testKeys.acme, "eu.localhost", 404],
    ["another jurisdiction's tenant", testKeys.globex, "eu.localhost", 404],
    ["an unknown hostname", testKeys.admin, "api.example.com", 421],
    ["the hostname of another jurisdiction", testKeys.admin, "us.localhost", 404],
  ])("refuses %s", async (_name, key, host, status) => {
    const { id } = (await call("/v1/conversations", { body: {} })).json();
    const answer = await call(pathOf(id), { method, key, host, body });
    expect(answer.status).toBe(status);
    expect(prewarmed).toEqual([]);
  });

  it("does not find a forged id, nor one that is none", async () => {
    for (const id of [forged, "conv_1", "x"]) {
      const answer = await call(pathOf(id), { ...admin, method, body });
      expect([answer.status, answer.error().code]).toEqual([404, "not_found"]);
    }
  });
});

describe("a move", () => {
  it("takes a conversation to another region, where its next turn goes", async () => {
    const { cell, id } = await aConversation();
    const region = otherRegion[cell] ?? "";
    const asked = await call(pathOf(id), { ...admin, body: { region } });
    expect(asked.status).toBe(200);
    expect(asked.json()["object"]).toBe("conversation.home");
    const there = `${region}a`;
    expect(await placeOf(id)).toMatchObject({
      id,
      cell: there,
      shard: `${there}/llama-0`,
      history_region: region,
      move: {
        from: { cell },
        to: { cell: there, shard: `${there}/llama-0` },
        copies_history: true,
        items: 2,
        copied_items: 2,
        prewarm: { prompt_tokens: 40, cached_tokens: 8 },
        reason: null,
      },
    });
    expect(databases.get(`${cell}.test`)?.items).toEqual([]);
    expect(databases.get(`${there}.test`)?.items).toHaveLength(2);
    await call("/v1/responses", { body: { model, input: "Again", conversation: id } });
    const { turn } = cells.turns.at(-1) ?? {};
    expect(turn?.cell).toBe(there);
    expect(turn?.affinity.homeShard).toBe(`${there}/llama-0`);
    expect(turn?.engine.body["messages"]).toHaveLength(3);
  });

  it.each(["shard", "cell"] as const)("may name a %s", async (kind) => {
    const { cell, id } = await aConversation();
    const there = `${otherRegion[cell] ?? ""}a`;
    const target = kind === "shard" ? `${there}/llama-0` : there;
    await call(pathOf(id), { ...admin, body: { [kind]: target } });
    expect(await placeOf(id)).toMatchObject({ cell: there, shard: `${there}/llama-0` });
    expect(prewarmed).toEqual([`${there}/llama-0`]);
  });

  it.each([
    [{ region: "us-east-1" }, "region"],
    [{ cell: "us-east-1a" }, "cell"],
    [{ shard: "us-east-1a/llama-0" }, "shard"],
    [{ region: "mars" }, "region"],
    [{ cell: "mars" }, "cell"],
    [{ shard: "eu-west-1a/none" }, "shard"],
  ])(
    "cannot name %j: of another jurisdiction and unknown are answered alike",
    async (body, param) => {
      const { id } = await aConversation();
      const answer = await call(pathOf(id), { ...admin, body });
      expect([answer.status, answer.error().param]).toEqual([404, param]);
      expect(answer.error().message).toBe("The destination was not found.");
    },
  );

  it.each([
    {},
    { region: "eu-west-1", cell: "eu-west-1a" },
    { region: 1 },
    { zone: "a" },
    { region: "" },
  ])("must name exactly one place: %j", async (body) => {
    const { id } = await aConversation();
    const answer = await call(pathOf(id), { ...admin, body });
    expect([answer.status, answer.error().code]).toEqual([400, "invalid_request"]);
  });

  it("is refused where the model is not served", async () => {
    const { id } = await aConversation();
    const answer = await call(pathOf(id), { ...admin, body: { shard: "eu-west-1a/bge-0" } });
    expect([answer.status, answer.error().code]).toEqual([400, "invalid_request"]);
    expect((await call(pathOf(id), admin)).json()["move"]).toBeNull();
  });
});
