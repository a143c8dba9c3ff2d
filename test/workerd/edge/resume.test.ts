import { evictDurableObject, listDurableObjectIds } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { formatClientFrame, formatOutcomeBlock } from "#shared/protocol/internal/stream.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { testKeys } from "#test/support/edge-keys.ts";
import { call } from "./edge-client.ts";
import {
  FakeCells,
  answerPieces,
  contentFrames,
  doneFrame,
  healthyAnswer,
  outcomeOf,
  streamOf,
} from "./fake-cell.ts";

const chat = "/v1/chat/completions";
const hello = { model: "sim/llama", messages: [{ role: "user", content: "Say hello" }] };
const stored = { ...hello, stream: true, store: true };

let cells: FakeCells;

beforeEach(() => {
  cells = new FakeCells();
  vi.spyOn(globalThis, "fetch").mockImplementation(cells.fetch);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Takes every conversation's memory away; one that is not in memory has none. */
async function evictAll(): Promise<void> {
  for (const id of await listDurableObjectIds(env.CONVERSATION)) {
    await evictDurableObject(env.CONVERSATION.get(id)).catch((error: unknown) => {
      if (!String(error).includes("not currently running")) throw error;
    });
  }
}

/** What an uninterrupted reader sees after the event with this id. */
function after(text: string, seq: number): string {
  return seq === 0 ? text : text.slice(text.indexOf(`id: ${seq + 1}\n`));
}

/** All that a cell says of a turn, in blocks. */
function blocksOf(turn: TurnRequest | null): readonly string[] {
  if (turn === null) return [];
  const outcome = formatOutcomeBlock(JSON.stringify(outcomeOf(turn)));
  return [...contentFrames(turn), outcome, doneFrame()];
}

async function streamOfTurn(body: object = stored) {
  const answer = await call(chat, { body });
  return {
    text: answer.text,
    path: `/v1/streams/${answer.headers.get("x-meridian-stream") ?? ""}`,
  };
}

describe.each([
  { title: "in memory", between: async () => undefined },
  { title: "evicted", between: evictAll },
])("a stream that has ended, its object $title", ({ between }) => {
  it("is read again from every event on, byte for byte", async () => {
    const { text, path } = await streamOfTurn();
    await between();
    expect((await call(path)).text).toBe(text);
    for (let seq = 0; seq <= answerPieces.length; seq += 1) {
      const again = await call(path, { headers: { "last-event-id": String(seq) } });
      expect(again.status).toBe(200);
      expect(again.headers.get("content-type")).toContain("text/event-stream");
      expect(again.text).toBe(after(text, seq));
    }
    expect(cells.turns).toHaveLength(1);
  });

  it("has nothing after its last event, and no event beyond that", async () => {
    const { path } = await streamOfTurn();
    await between();
    const last = answerPieces.length + 1;
    const end = await call(path, { headers: { "last-event-id": String(last) } });
    expect([end.status, end.text]).toEqual([200, ""]);
    const beyond = await call(path, { headers: { "last-event-id": String(last + 1) } });
    expect(beyond.error()).toMatchObject({ code: "invalid_request", param: "Last-Event-ID" });
  });

  it("is read with the response's own numbers, which begin at 0", async () => {
    const body = { model: "sim/llama", input: "Hi", stream: true };
    const whole = await call("/v1/responses", { body });
    const id = cells.turns[0]?.turn?.rendering.publicId ?? "";
    await between();
    const path = `/v1/responses/${id}?stream=true`;
    expect((await call(path)).text).toBe(whole.text);
    for (let sequence = 0; sequence < answerPieces.length; sequence += 1) {
      const again = await call(`${path}&starting_after=${sequence}`);
      expect(again.text).toBe(after(whole.text, sequence + 1));
    }
  });

  it("keeps its error event", async () => {
    cells.answers = (turn) => streamOf([...contentFrames(turn), null]);
    const { text, path } = await streamOfTurn();
    expect(text).toContain('"code":"interrupted"');
    await between();
    expect((await call(path, { headers: { "last-event-id": "2" } })).text).toBe(after(text, 2));
  });

  it("is never silent about its error, wherever its reader stands", async () => {
    cells.answers = (turn) => streamOf([...contentFrames(turn), null]);
    const { text, path } = await streamOfTurn();
    await between();
    const last = /id: (\d+)\n[^]*?$/.exec(text.slice(text.lastIndexOf("id: ")))?.[1] ?? "";
    const end = await call(path, { headers: { "last-event-id": last } });
    expect(end.text).toContain('"code":"interrupted"');
    expect(end.text).not.toContain("id: ");
  });
});

describe.each([
  { title: "in memory", between: async () => undefined },
  { title: "evicted", between: evictAll },
])("a stream that runs, its object $title", ({ title, between }) => {
  it("is joined by any number of readers, each from where it was, and ends for all of them alike", async () => {
    const gate = Promise.withResolvers<void>();
    let turn: TurnRequest | null = null;
    const encoder = new TextEncoder();
    const slow = (blocks: readonly string[], rest: () => readonly string[]): Response => {
      const body = new ReadableStream<Uint8Array>({
        async start(controller) {
          for (const block of blocks) controller.enqueue(encoder.encode(block));
          await gate.promise;
          for (const block of rest()) controller.enqueue(encoder.encode(block));
          controller.close();
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    };
    cells.answers = (asked) => {
      turn = asked;
      const [first = "", ...others] = contentFrames(asked);
      const outcome = formatOutcomeBlock(JSON.stringify(outcomeOf(asked)));
      return slow([first], () => [...others, outcome, doneFrame()]);
    };
    cells.frames = (afterSeq) => {
      if (turn === null) throw new Error("no turn runs");
      const { length } = answerPieces;
      const frames = contentFrames(turn);
      const outcome = formatOutcomeBlock(JSON.stringify(outcomeOf(turn)));
      const known = frames.slice(afterSeq, Math.max(afterSeq, 1));
      return slow(known, () => [
        ...frames.slice(Math.max(afterSeq, 1), length),
        outcome,
        doneFrame(),
      ]);
    };
    const headers = { "idempotency-key": `join ${title}`.replaceAll(" ", "-") };
    const first = call(chat, { body: stored, headers });
    await vi.waitFor(() => expect(turn).not.toBeNull());
    const second = call(chat, { body: stored, headers });
    const third = call(chat, { body: stored, headers });
    await vi.waitFor(() =>
      expect(cells.seen.filter(({ path }) => path.includes("/frames")).length).toBe(2),
    );
    await between();
    gate.resolve();
    const [one, two, three] = await Promise.all([first, second, third]);
    expect(one.text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect([two.text, three.text]).toEqual([one.text, one.text]);
    expect(cells.turns).toHaveLength(1);
  });

  it("gives readers that come at each of its events the same bytes", async () => {
    const encoder = new TextEncoder();
    let turn: TurnRequest | null = null;
    let given = 0;
    const changed = new EventTarget();
    /** The blocks after `from` as they are given, for whoever reads. */
    const follow = (from: number): Response => {
      let next = from;
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { promise, resolve } = Promise.withResolvers<void>();
          if (next < given) resolve();
          else changed.addEventListener("given", () => resolve(), { once: true });
          await promise;
          const block = blocksOf(turn)[next];
          next += 1;
          if (block !== undefined) controller.enqueue(encoder.encode(block));
          if (next >= blocksOf(turn).length) controller.close();
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    };
    cells.answers = (asked) => {
      turn = asked;
      return follow(0);
    };
    cells.frames = (afterSeq) => follow(afterSeq);
    const headers = { "idempotency-key": `each ${title}`.replaceAll(" ", "-") };
    const readers = [call(chat, { body: stored, headers })];
    await vi.waitFor(() => expect(turn).not.toBeNull());
    for (; given < blocksOf(turn).length; changed.dispatchEvent(new Event("given"))) {
      await between();
      const seen = cells.seen.length;
      readers.push(call(chat, { body: stored, headers }));
      await vi.waitFor(() => expect(cells.seen.length).toBeGreaterThan(seen));
      given += 1;
    }
    const [one, ...others] = await Promise.all(readers);
    expect(one?.text.endsWith("data: [DONE]\n\n")).toBe(true);
    for (const other of others) expect(other.text).toBe(one?.text);
    expect(cells.turns).toHaveLength(1);
  });
});

describe("the same request at the same instant", () => {
  it.each([
    ["streamed", stored],
    ["whole", { ...hello, store: true }],
  ])("is one generation and one answer, %s", async (name, body) => {
    const headers = { "idempotency-key": `twice-${name}` };
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => call(chat, { body, headers })),
    );
    expect(cells.turns).toHaveLength(1);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  });
});

describe("a reader that is too slow for the cell", () => {
  it("reads on from the journal what the cell has dropped", async () => {
    const gate = Promise.withResolvers<void>();
    const whole: string[] = [];
    cells.answers = (turn) => {
      whole.push(...contentFrames(turn));
      const outcome = formatOutcomeBlock(JSON.stringify(outcomeOf(turn)));
      const encoder = new TextEncoder();
      const body = new ReadableStream<Uint8Array>({
        async start(controller) {
          for (const frame of whole) controller.enqueue(encoder.encode(frame));
          await gate.promise;
          for (const block of [outcome, doneFrame()]) controller.enqueue(encoder.encode(block));
          controller.close();
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    };
    // The cell has dropped the second frame: what it gives after the first leaves a gap.
    cells.frames = (afterSeq) => {
      gate.resolve();
      return streamOf(afterSeq === 0 ? [whole[0] ?? "", whole[2] ?? ""] : []);
    };
    const headers = { "idempotency-key": "slow" };
    const first = call(chat, { body: stored, headers });
    await vi.waitFor(() => expect(whole).toHaveLength(answerPieces.length));
    const second = await call(chat, { body: stored, headers });
    expect(second.text).toBe((await first).text);
  });
});

describe("a reader that is ahead of the Worker when the cell is lost", () => {
  /** The answer goes on elsewhere with `words` in place of what the reader has seen; what the two readers got. */
  async function loseCell(words: (turn: TurnRequest) => string) {
    const gate = Promise.withResolvers<void>();
    const encoder = new TextEncoder();
    let first: TurnRequest | null = null;
    cells.answers = (turn) => {
      const [frame = ""] = contentFrames(turn);
      if (turn.attempt > 1) {
        const outcome = formatOutcomeBlock(JSON.stringify(outcomeOf(turn)));
        const third = formatClientFrame(3, { event: null, data: '"third"' });
        return streamOf([words(turn), third, outcome, doneFrame()]);
      }
      first = turn;
      const body = new ReadableStream<Uint8Array>({
        async start(controller) {
          controller.enqueue(encoder.encode(frame));
          await gate.promise;
          controller.error(new Error("Network connection lost."));
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    };
    let hasJoined = false;
    cells.frames = (afterSeq) => {
      if (first === null || hasJoined) return new Response("gone", { status: 521 });
      hasJoined = true;
      // The cell has a second frame, which never reaches the Worker that relays the turn.
      setTimeout(() => gate.resolve(), 100);
      return streamOf([...contentFrames(first).slice(afterSeq, 2), null]);
    };
    const headers = { "idempotency-key": `ahead-${words.name}` };
    const main = call(chat, { body: stored, headers });
    await vi.waitFor(() => expect(first).not.toBeNull());
    const [joined, relayed] = await Promise.all([call(chat, { body: stored, headers }), main]);
    return { joined: joined.text, relayed: relayed.text };
  }

  it("is told so when the answer went on in other words, and gets none of them", async () => {
    const { joined, relayed } = await loseCell(function other() {
      return formatClientFrame(2, { event: null, data: '"other words"' });
    });
    expect(relayed).toContain("other words");
    expect(joined).toContain('"code":"interrupted"');
    expect(joined).not.toContain("other words");
    expect(joined).not.toContain("third");
    expect(joined).not.toContain("[DONE]");
  });

  it("reads on when it went on in the same words", async () => {
    const { joined, relayed } = await loseCell(function same(turn) {
      return contentFrames({ ...turn, resume: null })[1] ?? "";
    });
    expect(relayed.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(joined).toBe(relayed);
  });
});

describe("a stream's id", () => {
  it("is the same as none when it is forged, cut, somebody else's or of another kind", async () => {
    const { path } = await streamOfTurn();
    const none = await call(`/v1/streams/strm_eu_aaaaaaaa_${"0".repeat(28)}_${"0".repeat(22)}`);
    expect(none.status).toBe(404);
    const last = path.endsWith("0") ? "1" : "0";
    const others = [
      call(`${path.slice(0, -1)}${last}`),
      call(path.slice(0, -3)),
      call(path.replace("strm_", "resp_")),
      call(path, { key: testKeys.initech }),
      call("/v1/streams/__proto__"),
    ];
    for (const other of await Promise.all(others)) {
      expect([other.status, other.error()]).toEqual([404, none.error()]);
    }
  });

  it("is told to a repeated key whose stream is not kept any more", async () => {
    const headers = { "idempotency-key": "old" };
    await call(chat, { body: stored, headers });
    const days = 2 * 86_400_000;
    const now = Date.now();
    vi.spyOn(Date, "now").mockImplementation(() => now + days);
    const again = await call(chat, { body: stored, headers });
    expect(again.status).toBe(404);
    expect(again.error()).toMatchObject({ code: "not_found", param: "Idempotency-Key" });
    expect(cells.turns).toHaveLength(1);
  });

  it("is found no more once its response is deleted", async () => {
    const body = { model: "sim/llama", input: "Hi", stream: true };
    const whole = await call("/v1/responses", { body });
    const id = cells.turns[0]?.turn?.rendering.publicId ?? "";
    await call(`/v1/responses/${id}`, { method: "DELETE" });
    expect((await call(`/v1/responses/${id}?stream=true`)).status).toBe(404);
    const stream = whole.headers.get("x-meridian-stream") ?? "";
    expect((await call(`/v1/streams/${stream}`)).status).toBe(404);
  });

  it.each(["-1", "1.5", "", "x", "1e3", "9".repeat(16)])(
    "is refused a position of %j",
    async (position) => {
      const { path } = await streamOfTurn();
      const answer = await call(path, { headers: { "last-event-id": position } });
      expect(answer.status).toBe(400);
      expect(answer.error()).toMatchObject({ code: "invalid_request", param: "Last-Event-ID" });
    },
  );

  it("names the parameter of a response's stream that is wrong", async () => {
    cells.answers = healthyAnswer;
    await call("/v1/responses", { body: { model: "sim/llama", input: "Hi" } });
    const id = cells.turns[0]?.turn?.rendering.publicId ?? "";
    const path = `/v1/responses/${id}`;
    const params = async (query: string) => (await call(`${path}?${query}`)).error().param;
    expect(await params("stream=yes")).toBe("stream");
    expect(await params("starting_after=1")).toBe("starting_after");
    expect(await params("stream=true&starting_after=x")).toBe("starting_after");
    // It was not streamed, so that it has no events.
    expect(await params("stream=true")).toBe("stream");
  });
});
