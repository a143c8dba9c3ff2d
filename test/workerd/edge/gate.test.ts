import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { testKeys } from "#test/support/edge-keys.ts";
import { call } from "./edge-client.ts";
import { FakeCells } from "./fake-cell.ts";

const chat = "/v1/chat/completions";
const hello = { model: "sim/llama", messages: [{ role: "user", content: "Say hello" }] };
const response = { model: "sim/llama", input: "Hi" };

let cells: FakeCells;

beforeEach(() => {
  cells = new FakeCells();
  vi.spyOn(globalThis, "fetch").mockImplementation(cells.fetch);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** An id of `prefix` that is shaped like ours; its MAC is made up. */
function forgedId(prefix: string, random = "a".repeat(28)): string {
  return `${prefix}_eu_${"b".repeat(8)}_${random}_${"c".repeat(22)}`;
}

const conversation = forgedId("conv", "a".repeat(16));

/** Every route of the API, with a body that would be valid. */
const routes: readonly (readonly [string, string, unknown])[] = [
  ["POST", chat, hello],
  ["POST", "/v1/completions", { model: "sim/llama", prompt: "Hi" }],
  ["POST", "/v1/embeddings", { model: "sim/bge", input: "Hi" }],
  ["POST", "/v1/responses", response],
  ["GET", `/v1/responses/${forgedId("resp")}`, undefined],
  ["DELETE", `/v1/responses/${forgedId("resp")}`, undefined],
  ["GET", `/v1/responses/${forgedId("resp")}/input_items`, undefined],
  ["POST", "/v1/conversations", {}],
  ["GET", `/v1/conversations/${conversation}`, undefined],
  ["POST", `/v1/conversations/${conversation}`, { metadata: {} }],
  ["DELETE", `/v1/conversations/${conversation}`, undefined],
  ["GET", `/v1/conversations/${conversation}/items`, undefined],
  ["POST", `/v1/conversations/${conversation}/items`, { items: [{ role: "user", content: "x" }] }],
  ["GET", `/v1/conversations/${conversation}/items/msg_1`, undefined],
  ["DELETE", `/v1/conversations/${conversation}/items/msg_1`, undefined],
  ["GET", "/v1/models", undefined],
  ["GET", "/v1/models/sim/llama", undefined],
];

const withIds = routes.filter(([, path]) => path.includes("_eu_"));

describe.each(routes)("%s %s", (method, path, body) => {
  it.each([
    ["no key", null, "eu.localhost", 401, "invalid_api_key"],
    [
      "a key that is none",
      "mk_eu_acme_zzzzzzzzzzzzzzzzzzzzzzzz",
      "eu.localhost",
      401,
      "invalid_api_key",
    ],
    ["an admin key", testKeys.admin, "eu.localhost", 401, "invalid_api_key"],
    ["a foreign key", testKeys.globex, "eu.localhost", 421, "wrong_jurisdiction"],
    ["a key on a foreign hostname", testKeys.acme, "us.localhost", 421, "wrong_jurisdiction"],
    ["an unknown hostname", testKeys.acme, "api.example.com", 421, "wrong_jurisdiction"],
  ])("refuses %s", async (_name, key, host, status, code) => {
    const answer = await call(path, { method, key, host, body });
    expect(answer.status).toBe(status);
    expect(answer.error().code).toBe(code);
    expect(answer.headers.get("x-request-id")).toMatch(/^req_/);
    expect(cells.seen).toEqual([]);
  });

  it("refuses another method with 405 and names those it has", async () => {
    const answer = await call(path, { method: "PATCH" });
    expect(answer.status).toBe(405);
    expect(answer.headers.get("allow")).toContain(method);
  });

  it("refuses a query parameter that it does not know, by name", async () => {
    const answer = await call(`${path}?frobnicate=1`, { method, body });
    expect(answer.status).toBe(400);
    expect(answer.error().param).toBe("frobnicate");
  });
});

describe("ids", () => {
  it.each(withIds)("%s %s is not found for a forged id", async (method, path, body) => {
    const answer = await call(path, { method, body });
    expect(answer.status).toBe(404);
    expect(answer.error().code).toBe("not_found");
  });

  it("says the same of another tenant's conversation as of none", async () => {
    const made = await call("/v1/conversations", { body: {} });
    const id = String(made.json()["id"]);
    const foreign = await call(`/v1/conversations/${id}`, { key: testKeys.initech });
    const none = await call(`/v1/conversations/${conversation}`);
    expect([made.status, foreign.status]).toEqual([200, 404]);
    expect(foreign.text).toBe(none.text);
  });

  it.each([
    ["x-meridian-conversation", {}, { "x-meridian-conversation": conversation }, hello, chat],
    ["previous_response_id", { previous_response_id: forgedId("resp") }, {}, response],
    ["conversation", { conversation }, {}, response],
  ])("names %s when it is unknown", async (param, more, headers, body, path = "/v1/responses") => {
    const answer = await call(path, { body: { ...body, ...more }, headers });
    expect(answer.status).toBe(404);
    expect(answer.error().param).toBe(param);
  });
});

describe("the jurisdiction", () => {
  it("is refused before the body is read", async () => {
    let pulled = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled += 1;
          controller.enqueue(new Uint8Array(1024));
        },
      },
      { highWaterMark: 0 },
    );
    const answer = await call(chat, { body, key: testKeys.globex });
    expect(answer.status).toBe(421);
    expect(pulled).toBe(0);
  });

  it.each(["127.0.0.1", "localhost"])("comes from the key on %s in development", async (host) => {
    const answer = await call("/v1/models", { host, key: testKeys.globex });
    expect(answer.status).toBe(200);
    expect(answer.text).not.toContain("sim/bge");
  });

  it("is on the receipt of a refusal too, once it is known", async () => {
    const answer = await call(chat, { key: null, body: hello });
    const [payload = ""] = (answer.headers.get("x-meridian-receipt") ?? "").split(".");
    const text = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    expect(JSON.parse(text)).toMatchObject({ jurisdiction: "eu", hops: [{ kind: "worker" }] });
  });
});

describe("bad input", () => {
  it.each([
    ["malformed JSON", "{", 400, "invalid_request"],
    ["an empty body", "", 400, "invalid_request"],
    ["deep nesting", `{"a":${"[".repeat(5000)}`, 413, "body_too_large"],
    ["a __proto__ key", '{"__proto__":{},"model":"sim/llama"}', 400, "invalid_request"],
    ["an absurd number", '{"model":"sim/llama","temperature":1e999}', 400, "invalid_request"],
    ["invalid UTF-8", new Uint8Array([0x7b, 0xff, 0x7d]), 400, "invalid_request"],
    ["no model", { messages: hello.messages }, 400, "invalid_request"],
    ["an unknown model", { ...hello, model: "gpt-5" }, 404, "model_not_found"],
    ["a model of another jurisdiction's name", { ...hello, model: "" }, 400, "invalid_request"],
    ["empty messages", { ...hello, messages: [] }, 400, "invalid_request"],
    ["a capability the model lacks", { ...hello, model: "sim/bge" }, 400, "invalid_request"],
    [
      "a prompt beyond the context",
      { ...hello, messages: [{ role: "user", content: "x".repeat(900_000) }] },
      400,
      "context_length_exceeded",
    ],
    ["a body of 2 MB", { ...hello, user: "x".repeat(2_000_000) }, 413, "body_too_large"],
  ])("refuses %s", async (_name, body, status, code) => {
    const answer = await call(chat, { body });
    expect(answer.error().code).toBe(code);
    expect(answer.status).toBe(status);
    expect(cells.seen).toEqual([]);
  });

  it("stops reading a chunked body at its first byte too many", async () => {
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        if (sent > 10_000_000) controller.close();
        else controller.enqueue(new Uint8Array(65_536).fill(0x20));
      },
    });
    const answer = await call(chat, { body });
    expect(answer.status).toBe(413);
    expect(sent).toBeLessThan(2_000_000);
  });

  it("takes a larger body where images are shown early, up to its own maximum", async () => {
    const content = [
      { type: "text", text: "Look" },
      { type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(2_000_000)}` } },
    ];
    const body = { model: "sim/llama", messages: [{ role: "user", content }] };
    const answer = await call(chat, { body });
    expect(answer.error()).toMatchObject({ code: "invalid_request", param: "messages" });
  });

  it.each([
    ["text/plain", {}],
    ["application/x-www-form-urlencoded", {}],
    ["application/json", { "content-encoding": "gzip" }],
  ])("refuses a body of %s %j", async (type, more) => {
    const answer = await call(chat, { body: hello, headers: { "content-type": type, ...more } });
    expect(answer.status).toBe(415);
  });

  it.each([
    ["x-meridian-deadline-ms", "0"],
    ["x-meridian-deadline-ms", "3600001"],
    ["x-meridian-deadline-ms", "1e3"],
    ["x-meridian-priority", "urgent"],
    ["Idempotency-Key", "a b"],
    ["Idempotency-Key", "x".repeat(256)],
  ])("refuses %s: %s", async (name, value) => {
    const answer = await call(chat, { body: hello, headers: { [name]: value } });
    expect(answer.status).toBe(400);
    expect(answer.error().param).toBe(name);
  });

  it("refuses more headers than it reads", async () => {
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`x-h-${n}`, "1"]));
    expect((await call(chat, { body: hello, headers: many })).status).toBe(431);
    const large = { "x-large": "x".repeat(16 * 1024) };
    expect((await call(chat, { body: hello, headers: large })).status).toBe(431);
  });

  it("knows no other path", async () => {
    expect((await call("/v1/files")).status).toBe(404);
    expect((await call("/v1/files", { key: null })).status).toBe(401);
    expect((await call("/admin/v1/shards")).status).toBe(404);
    expect((await call("/")).status).toBe(404);
  });
});

describe("what a request may ask for", () => {
  it("is a deadline of its own", async () => {
    const before = Date.now();
    await call(chat, { body: hello, headers: { "x-meridian-deadline-ms": "3600000" } });
    const deadlineMs = cells.turns[0]?.turn?.deadlineMs ?? 0;
    expect(deadlineMs).toBeGreaterThanOrEqual(before + 3_600_000);
    expect(deadlineMs).toBeLessThan(before + 3_660_000);
  });

  it.each([
    ["batch", "batch"],
    ["critical", "interactive"],
  ])("is priority %s, and gets %s under a ceiling of interactive", async (asked, got) => {
    await call(chat, { body: hello, headers: { "x-meridian-priority": asked } });
    expect(cells.turns[0]?.turn?.priority).toBe(got);
  });
});

describe("models", () => {
  it.each(["sim/llama", "sim%2Fllama"])("are found as %s", async (id) => {
    expect((await call(`/v1/models/${id}`)).json()).toMatchObject({ id: "sim/llama" });
  });

  it.each(["sim/nothing", "%ff", "%"])("are not found as %s, which is no bug", async (id) => {
    const answer = await call(`/v1/models/${id}`);
    expect([400, 404]).toContain(answer.status);
  });

  it("are those of the jurisdiction", async () => {
    const answer = await call("/v1/models", { host: "us.localhost", key: testKeys.globex });
    expect(answer.json()["data"]).toMatchObject([{ id: "sim/llama", object: "model" }]);
  });
});

describe("public routes", () => {
  it.each(["/healthz", "/readyz", "/.well-known/meridian-receipt-keys.json"])(
    "%s needs no key",
    async (path) => {
      expect((await call(path, { key: null })).status).toBe(200);
    },
  );

  it("publishes the public half of the receipt key only", async () => {
    const answer = await call("/.well-known/meridian-receipt-keys.json", { key: null });
    expect(answer.text).toContain('"kid":"test-1"');
    expect(answer.text).not.toContain('"d"');
  });
});

describe("conversations", () => {
  const path = "/v1/conversations";

  it("are made, read, changed, and erased", async () => {
    const made = await call(path, { body: { metadata: { topic: "x" } } });
    const id = String(made.json()["id"]);
    expect(made.json()).toMatchObject({ object: "conversation", metadata: { topic: "x" } });
    const changed = await call(`${path}/${id}`, { body: { metadata: { topic: "y" } } });
    expect(changed.json()).toMatchObject({ id, metadata: { topic: "y" } });
    expect((await call(`${path}/${id}`)).json()).toEqual(changed.json());
    const erased = await call(`${path}/${id}`, { method: "DELETE" });
    expect(erased.json()).toEqual({ id, object: "conversation.deleted", deleted: true });
    expect((await call(`${path}/${id}`)).status).toBe(404);
  });

  it("are made without a body", async () => {
    expect((await call(path, { method: "POST" })).status).toBe(200);
  });

  it("hold items, which are listed in pages, read and deleted", async () => {
    const id = String((await call(path, { body: {} })).json()["id"]);
    const items = ["a", "b", "c"].map((content) => ({ role: "user", content }));
    const added = await call(`${path}/${id}/items`, { body: { items } });
    const ids = (added.json()["data"] as { id: string }[]).map((item) => item.id);
    expect(new Set(ids).size).toBe(3);
    const page = await call(`${path}/${id}/items?order=asc&limit=2`);
    expect(page.json()).toMatchObject({ has_more: true, first_id: ids[0], last_id: ids[1] });
    const next = await call(`${path}/${id}/items?order=asc&limit=2&after=${ids[1]}`);
    expect(next.json()).toMatchObject({ has_more: false, first_id: ids[2] });
    expect((await call(`${path}/${id}/items/${ids[0]}`)).json()).toMatchObject({ id: ids[0] });
    const removed = await call(`${path}/${id}/items/${ids[0]}`, { method: "DELETE" });
    expect(removed.json()).toMatchObject({ object: "conversation" });
    expect((await call(`${path}/${id}/items/${ids[0]}`)).status).toBe(404);
  });
});
