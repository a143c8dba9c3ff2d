import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { formatOutcomeBlock } from "#shared/protocol/internal/stream.ts";
import { testKeys } from "#test/support/edge-keys.ts";
import { call } from "./edge-client.ts";
import {
  FakeCells,
  answerText,
  contentFrames,
  doneFrame,
  errorAnswer,
  failedAnswer,
  healthyAnswer,
  outcomeOf,
  streamOf,
} from "./fake-cell.ts";

const chat = "/v1/chat/completions";
const hello = { model: "sim/llama", messages: [{ role: "user", content: "Say hello" }] };
const streamed = { ...hello, stream: true };

let cells: FakeCells;

beforeEach(() => {
  cells = new FakeCells();
  vi.spyOn(globalThis, "fetch").mockImplementation(cells.fetch);
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("the stateless lane", () => {
  it("passes a whole answer through, with the headers of an answer", async () => {
    const answer = await call(chat, { body: hello });
    expect(answer.text).toContain(answerText);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.headers.get("x-meridian-shard")).toMatch(/^eu-/);
    expect(answer.headers.get("x-meridian-level")).toBe("1");
    expect(answer.headers.get("x-meridian-receipt")).toMatch(/^[\w-]+\.[\w-]+$/);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("x-meridian-outcome")).toBeNull();
    expect(answer.headers.get("x-meridian-conversation")).toBeNull();
  });

  it.each([
    ["the stateless", {}],
    ["the durable", { store: true }],
  ])(
    "tells on %s lane how long a shard's start is expected to take, and passes on no nonsense",
    async (_lane, lane) => {
      const waits = async (told: string) => {
        cells.answers = (turn) => {
          const answer = healthyAnswer(turn);
          answer.headers.set("x-meridian-expected-wait-ms", told);
          return answer;
        };
        const answer = await call(chat, { body: { ...streamed, ...lane } });
        expect(answer.text).toContain("[DONE]");
        return answer.headers.get("x-meridian-expected-wait-ms");
      };
      expect(await waits("70000")).toBe("70000");
      expect(await waits("soon")).toBeNull();
    },
  );

  it("prefers a cell near the client, and is not led by a place that is none", async () => {
    const cellFor = async (cf: Record<string, unknown>): Promise<string | undefined> => {
      await call(chat, { body: hello, cf });
      return cells.turns.at(-1)?.turn?.cell;
    };
    const [west, east] = [
      await cellFor({ latitude: "1", longitude: "2" }),
      await cellFor({ latitude: "1", longitude: "88" }),
    ];
    expect([west, east]).toEqual(["eu-west-1a", "eu-central-1a"]);
    const byKey = await cellFor({});
    for (const cf of [
      { latitude: "1" },
      { latitude: 1, longitude: 2 },
      { latitude: "91", longitude: "2" },
      { latitude: "NaN", longitude: "0x10" },
    ])
      expect(await cellFor(cf)).toBe(byKey);
  });

  it("asks the cell with a signed request for that cell, and nothing of the client's headers", async () => {
    await call(chat, {
      body: hello,
      headers: {
        "x-request-id": "mine",
        "x-secret": "s",
        traceparent: `00-${"a".repeat(32)}-1-01`,
      },
    });
    const [seen] = cells.turns;
    expect(seen?.headers.get("x-meridian-signature")).toMatch(/^[0-9a-f]{64}$/);
    expect(seen?.headers.get("x-secret")).toBeNull();
    expect(seen?.headers.get("authorization")).toBeNull();
    expect(seen?.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
    expect(seen?.headers.get("traceparent")).not.toContain("a".repeat(32));
    expect(seen?.turn).toMatchObject({ lane: "stateless", cell: seen?.cell, jurisdiction: "eu" });
  });

  it("streams frames, and never the outcome", async () => {
    const answer = await call(chat, { body: streamed });
    expect(answer.headers.get("content-type")).toContain("text/event-stream");
    expect(answer.text).not.toContain("meridian.outcome");
    expect(answer.text.startsWith("id: 1\n")).toBe(true);
    expect(answer.text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  it.each([
    ["ends without an outcome", []],
    ["is cut", [null]],
    ["turns into something else", ["<html>\n\n"]],
  ])("has another cell go on with a stream that %s, byte for byte", async (_name, rest) => {
    const whole = await call(chat, { body: streamed });
    cells.answers = (turn, count) =>
      count === 1 ? streamOf([...contentFrames(turn).slice(0, 2), ...rest]) : healthyAnswer(turn);
    const answer = await call(chat, { body: streamed });
    const withoutIds = (text: string) => text.replaceAll(/"id":"[^"]+"/g, "");
    expect(withoutIds(answer.text)).toBe(withoutIds(whole.text));
    const [, first, second] = cells.turns;
    expect(second?.cell).not.toBe(first?.cell);
    expect(second?.turn).toMatchObject({
      turnId: first?.turn?.turnId,
      attempt: 2,
      resume: { toSeq: 2, continuations: 1 },
    });
    expect(answer.text.startsWith(second?.turn?.resume?.frames ?? "none")).toBe(true);
  });

  it("ends a stream that no cell can go on with by an error event and no [DONE]", async () => {
    cells.answers = (turn) => streamOf([...contentFrames(turn), null]);
    const answer = await call(chat, { body: streamed });
    expect(answer.status).toBe(200);
    expect(answer.text).toContain('"code":"interrupted"');
    expect(answer.text).not.toContain("[DONE]");
    expect(cells.turns).toHaveLength(3);
  });

  it.each([
    ["is full", () => errorAnswer(429, "saturated", { "x-overload": "cell" })],
    ["drains", () => errorAnswer(503, "draining")],
    ["answers with a page", () => new Response("<html>", { status: 502 })],
  ])("asks one other cell when the first %s", async (_name, refuse) => {
    cells.answers = (turn, count) => (count === 0 ? refuse() : healthyAnswer(turn));
    const answer = await call(chat, { body: hello });
    expect(answer.status).toBe(200);
    expect(new Set(cells.turns.map(({ cell }) => cell)).size).toBe(2);
    expect(cells.turns.map(({ turn }) => turn?.hop)).toEqual([0, 1]);
  });

  it("asks another cell where the first has no shard left that has not failed", async () => {
    cells.answers = (turn, count) =>
      count === 0 ? failedAnswer(turn, 502, "upstream_invalid", true) : healthyAnswer(turn);
    expect((await call(chat, { body: hello })).status).toBe(200);
    expect(new Set(cells.turns.map(({ cell }) => cell)).size).toBe(2);
  });

  it("does not ask another cell for what is the client's fault", async () => {
    cells.answers = (turn) => failedAnswer(turn, 400, "context_length_exceeded");
    const answer = await call(chat, { body: hello });
    expect(answer.error().code).toBe("context_length_exceeded");
    expect(cells.turns).toHaveLength(1);
  });

  it.each([
    [401, "invalid_api_key"],
    [409, "conversation_locked"],
    [400, "invalid_request"],
    [421, "wrong_jurisdiction"],
  ])(
    "does not blame the client for a call that the cell refused with %i %s",
    async (status, code) => {
      cells.answers = () => errorAnswer(status, code);
      const answer = await call(chat, { body: hello });
      expect(answer.error().code).toBe("no_capacity_in_jurisdiction");
    },
  );

  it("signs once more when a cell refuses the signature's time", async () => {
    cells.answers = (turn, count) =>
      count === 0 ? errorAnswer(401, "invalid_api_key") : healthyAnswer(turn);
    expect((await call(chat, { body: hello })).status).toBe(200);
    const [first, second] = cells.turns;
    expect(second?.cell).toBe(first?.cell);
    expect(second?.headers.get("x-meridian-nonce")).not.toBe(
      first?.headers.get("x-meridian-nonce"),
    );
  });

  it("refuses honestly when no cell of the jurisdiction can be reached", async () => {
    vi.spyOn(globalThis, "fetch").mockImplementation(async () => {
      throw new Error("Network connection lost.");
    });
    const answer = await call(chat, { body: hello });
    expect(answer.status).toBe(503);
    expect(answer.error().code).toBe("no_capacity_in_jurisdiction");
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(answer.headers.get("x-should-retry")).toBe("true");
  });

  it("never passes on an answer without an outcome", async () => {
    cells.answers = () => Response.json({ secret: 1 });
    const answer = await call(chat, { body: hello });
    expect(answer.status).toBe(502);
    expect(answer.error().code).toBe("upstream_invalid");
  });

  it("gives one affinity to prompts with one cache key, another to another tenant's", async () => {
    const body = { ...hello, prompt_cache_key: "k" };
    await call(chat, { body });
    await call(chat, { body: { ...body, messages: [{ role: "user", content: "Else" }] } });
    await call(chat, { body, key: testKeys.initech });
    const [first, second, third] = cells.turns.map(({ turn }) => turn?.affinity.key);
    expect(first).toBe(second);
    expect(third).not.toBe(first);
  });
});

describe("the durable lane", () => {
  it("creates a conversation, and the next turn goes on with its history", async () => {
    const first = await call(chat, { body: { ...hello, store: true } });
    expect(first.status).toBe(200);
    expect(first.json()).toMatchObject({ answerText });
    const conversation = first.headers.get("x-meridian-conversation") ?? "";
    expect(conversation).toMatch(/^conv_eu_/);
    expect(first.headers.get("x-meridian-stream")).toMatch(/^strm_eu_/);
    const second = await call(chat, {
      body: { ...hello, messages: [{ role: "user", content: "And then?" }] },
      headers: { "x-meridian-conversation": conversation },
    });
    expect(second.status).toBe(200);
    const sent = cells.turns[1]?.turn?.engine.body["messages"];
    expect(sent).toEqual([
      { role: "user", content: "Say hello" },
      { role: "assistant", content: answerText },
      { role: "user", content: "And then?" },
    ]);
    expect(cells.turns[1]?.turn?.affinity.homeShard).toMatch(/^eu-/);
  });

  it("adds only what the conversation does not hold when a client sends its whole chat", async () => {
    const first = await call(chat, { body: { ...hello, store: true } });
    const conversation = first.headers.get("x-meridian-conversation") ?? "";
    const whole = [
      ...hello.messages,
      { role: "assistant", content: answerText },
      { role: "user", content: "And then?" },
    ];
    await call(chat, {
      body: { ...hello, messages: whole },
      headers: { "x-meridian-conversation": conversation },
    });
    expect(cells.turns[1]?.turn?.engine.body["messages"]).toEqual(whole);
  });

  it("streams with the terminal frame last", async () => {
    const answer = await call(chat, { body: { ...streamed, store: true } });
    expect(answer.text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(answer.headers.get("x-meridian-shard")).toBe("eu-west-1a/llama-0");
  });

  it("answers a repeated idempotency key byte for byte, and generates once", async () => {
    const headers = { "idempotency-key": '"k-1"' };
    const first = await call(chat, { body: hello, headers });
    const second = await call(chat, { body: hello, headers: { "idempotency-key": "k-1" } });
    expect(second.text).toBe(first.text);
    expect(second.status).toBe(200);
    expect(cells.turns).toHaveLength(1);
  });

  it("replays a stream byte for byte", async () => {
    const headers = { "idempotency-key": "k-2" };
    const first = await call(chat, { body: streamed, headers });
    const second = await call(chat, { body: streamed, headers });
    expect(first.text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(second.text).toBe(first.text);
    expect(cells.turns).toHaveLength(1);
  });

  it("makes one conversation under one key, and adds its items once, byte for byte", async () => {
    const path = "/v1/conversations";
    const headers = { "idempotency-key": "k-conversation" };
    const body = { metadata: { a: "1" }, items: [{ role: "user", content: "first" }] };
    const made = await call(path, { body, headers });
    const again = await call(path, { body, headers });
    expect(made.status).toBe(200);
    expect(again.text).toBe(made.text);
    const other = await call(path, { body: { metadata: {} }, headers });
    expect([other.status, other.error().code]).toEqual([422, "idempotency_key_reused"]);

    const items = `${path}/${String(made.json()["id"])}/items`;
    const more = { items: [{ role: "user", content: "second" }] };
    const added = await call(items, { body: more, headers });
    expect(added.status).toBe(200);
    expect((await call(items, { body: more, headers })).text).toBe(added.text);
    const changed = { items: [{ role: "user", content: "third" }] };
    expect((await call(items, { body: changed, headers })).status).toBe(422);
    const listed = (await call(`${items}?order=asc`)).json()["data"] as unknown[];
    expect(listed).toHaveLength(2);
  });

  it("makes a conversation without a body once as well, and never the one of another tenant", async () => {
    const path = "/v1/conversations";
    const headers = { "idempotency-key": "k-empty" };
    const made = await call(path, { method: "POST", headers });
    expect((await call(path, { method: "POST", headers })).text).toBe(made.text);
    const foreign = await call(path, { method: "POST", headers, key: testKeys.initech });
    expect(foreign.status).toBe(200);
    expect(foreign.json()["id"]).not.toBe(made.json()["id"]);
  });

  it("does not put old metadata back when an update is repeated late", async () => {
    const { id } = (await call("/v1/conversations", { body: {} })).json();
    const path = `/v1/conversations/${String(id)}`;
    const headers = { "idempotency-key": "k-update" };
    const first = await call(path, { body: { metadata: { a: "1" } }, headers });
    await call(path, { body: { metadata: { b: "2" } } });
    expect((await call(path, { body: { metadata: { a: "1" } }, headers })).text).toBe(first.text);
    expect((await call(path)).json()["metadata"]).toEqual({ b: "2" });
  });

  it("refuses an idempotency key with another body", async () => {
    const headers = { "idempotency-key": "k-3" };
    await call(chat, { body: hello, headers });
    const answer = await call(chat, { body: { ...hello, temperature: 0 }, headers });
    expect(answer.status).toBe(422);
    expect(answer.error().code).toBe("idempotency_key_reused");
  });

  it.each([
    ["is full", () => errorAnswer(429, "saturated", { "x-overload": "cell" })],
    ["ends before its first frame", () => streamOf([])],
    ["cannot be reached", () => new Response("no", { status: 521 })],
  ])("moves to another cell of the jurisdiction when the first %s", async (_name, fail) => {
    cells.answers = (turn, count) => (count === 0 ? fail() : healthyAnswer(turn));
    const answer = await call(chat, { body: { ...streamed, store: true } });
    expect(answer.text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(cells.turns.map(({ turn }) => turn?.attempt)).toEqual([1, 2]);
    expect(new Set(cells.turns.map(({ cell }) => cell)).size).toBe(2);
  });

  it("ends a begun stream that is cut with an error event, and frees the conversation", async () => {
    cells.answers = (turn) => streamOf([...contentFrames(turn), null]);
    const first = await call(chat, { body: { ...streamed, store: true } });
    expect(first.text).toContain("id: 4\n");
    expect(first.text).toContain('"code":"interrupted"');
    expect(first.text).not.toContain("[DONE]");
    cells.answers = healthyAnswer;
    const conversation = first.headers.get("x-meridian-conversation") ?? "";
    const second = await call(chat, {
      body: hello,
      headers: { "x-meridian-conversation": conversation },
    });
    expect(second.status).toBe(200);
  });

  it("answers a failed turn with its error and status", async () => {
    cells.answers = (turn) => failedAnswer(turn, 502, "upstream_invalid");
    const answer = await call("/v1/responses", { body: { model: "sim/llama", input: "Hi" } });
    expect(answer.status).toBe(502);
    expect(answer.error().code).toBe("upstream_invalid");
  });

  it("holds terminal frames back when the outcome says the turn failed", async () => {
    const error = { code: "upstream_invalid" as const, message: "No." };
    cells.answers = (turn) => {
      const outcome = outcomeOf(turn, { status: "failed", error, body: null, items: [] });
      const blocks = contentFrames(turn).slice(0, 1);
      return streamOf([...blocks, formatOutcomeBlock(JSON.stringify(outcome))]);
    };
    const answer = await call(chat, { body: { ...streamed, store: true } });
    expect(answer.text).not.toContain("[DONE]");
    expect(answer.text).not.toContain(doneFrame());
  });
});

describe("responses", () => {
  const path = "/v1/responses";

  it("stores, retrieves, lists the input of and deletes a response", async () => {
    await call(path, { body: { model: "sim/llama", input: "Hi" } });
    const id = cells.turns[0]?.turn?.rendering.publicId ?? "";
    const read = await call(`${path}/${id}`);
    expect(read.json()).toMatchObject({ id, answerText });
    const input = await call(`${path}/${id}/input_items`);
    expect(input.json()).toMatchObject({ object: "list", has_more: false });
    expect((input.json()["data"] as unknown[]).length).toBe(1);
    const removed = await call(`${path}/${id}`, { method: "DELETE" });
    expect(removed.json()).toMatchObject({ id, deleted: true });
    expect((await call(`${path}/${id}`)).status).toBe(404);
  });

  it("follows a previous response, and forks when another one does too", async () => {
    await call(path, { body: { model: "sim/llama", input: "One" } });
    const id = cells.turns[0]?.turn?.rendering.publicId ?? "";
    const follow = { model: "sim/llama", previous_response_id: id };
    const second = await call(path, { body: { ...follow, input: "Two", instructions: "Be kind" } });
    const third = await call(path, { body: { ...follow, input: "Other" } });
    expect([second.status, third.status]).toEqual([200, 200]);
    expect(cells.turns[1]?.turn?.engine.body["messages"]).toEqual([
      { role: "system", content: "Be kind" },
      { role: "user", content: "One" },
      { role: "assistant", content: answerText },
      { role: "user", content: "Two" },
    ]);
    expect(cells.turns[2]?.turn?.engine.body["messages"]).toEqual([
      { role: "user", content: "One" },
      { role: "assistant", content: answerText },
      { role: "user", content: "Other" },
    ]);
    expect(cells.turns[2]?.turn?.conversationId).not.toBe(cells.turns[0]?.turn?.conversationId);
  });

  it("keeps nothing with store false, and still reads what it follows", async () => {
    await call(path, { body: { model: "sim/llama", input: "One" } });
    const id = cells.turns[0]?.turn?.rendering.publicId ?? "";
    await call(path, {
      body: { model: "sim/llama", input: "Two", store: false, previous_response_id: id },
    });
    expect(cells.turns[1]?.turn).toMatchObject({ lane: "stateless", conversationId: null });
    expect(cells.turns[1]?.turn?.engine.body["messages"]).toHaveLength(3);
  });
});

describe("limits", () => {
  it("tells what is left, and refuses past it with the time to wait", async () => {
    const options = { body: hello, key: testKeys.initech };
    const first = await call(chat, options);
    expect(first.headers.get("ratelimit-policy")).toContain('"requests";q=2');
    expect(first.headers.get("x-ratelimit-limit-requests")).toBe("2");
    await call(chat, options);
    const third = await call(chat, options);
    expect(third.status).toBe(429);
    expect(third.headers.get("retry-after-ms")).not.toBeNull();
    expect(cells.turns).toHaveLength(2);
  });
});
