import { evictDurableObject, listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { formatOutcomeBlock } from "#shared/protocol/internal/stream.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { testKeys } from "#test/support/edge-keys.ts";
import { call } from "./edge-client.ts";
import {
  FakeCells,
  answerText,
  contentFrames,
  doneFrame,
  errorAnswer,
  outcomeOf,
  streamOf,
} from "./fake-cell.ts";

const path = "/v1/responses";
const ask = { model: "sim/llama", input: "Think long", background: true };

let cells: FakeCells;
let isDone: boolean;

function lastTurn(): TurnRequest {
  const turn = cells.turns.at(-1)?.turn;
  if (turn === null || turn === undefined) throw new Error("no turn was asked for");
  return turn;
}

/** The rest of the turn's stream after `afterSeq`, as far as the cell has it. */
function framesAfter(afterSeq: number): Response {
  const turn = lastTurn();
  const content = turn.rendering.stream ? contentFrames(turn).slice(afterSeq) : [];
  if (!isDone) return streamOf([": keep-alive\n\n", ...content]);
  const outcome = formatOutcomeBlock(JSON.stringify(outcomeOf(turn)));
  return streamOf([...content, outcome, ...(turn.rendering.stream ? [doneFrame()] : [])]);
}

beforeEach(() => {
  cells = new FakeCells();
  isDone = false;
  cells.answers = () => Response.json({ kind: "started" }, { status: 202 });
  cells.frames = framesAfter;
  vi.spyOn(globalThis, "fetch").mockImplementation(cells.fetch);
});

afterEach(() => {
  vi.restoreAllMocks();
});

async function statusOf(id: unknown): Promise<unknown> {
  return (await call(`${path}/${String(id)}`)).json()["status"];
}

/** Takes every conversation's memory away; one that is not in memory has none. */
async function evictAll(): Promise<void> {
  for (const id of await listDurableObjectIds(env.CONVERSATION)) {
    await evictDurableObject(env.CONVERSATION.get(id)).catch((error: unknown) => {
      if (!String(error).includes("not currently running")) throw error;
    });
  }
}

describe.each([
  { title: "kept in memory", between: async () => undefined },
  { title: "whose object is evicted between the steps", between: evictAll },
])("a background response $title", ({ between }) => {
  it("is answered at once, runs without its client, and is read by its id", async () => {
    const begun = await call(path, { body: ask });
    expect(begun.status).toBe(200);
    expect(begun.json()).toMatchObject({ object: "response", status: "queued", background: true });
    const { id } = begun.json();
    await between();
    await vi.waitFor(async () => expect(await statusOf(id)).toBe("in_progress"), 5_000);
    expect(cells.turns[0]?.path).toContain("detached=true");
    expect(cells.turns[0]?.turn?.deadlineMs).toBeGreaterThan(Date.now() + 30 * 60_000);
    await between();
    isDone = true;
    await vi.waitFor(
      async () => expect((await call(`${path}/${String(id)}`)).text).toContain(answerText),
      { timeout: 2_000, interval: 100 },
    );
    expect(cells.turns).toHaveLength(1);
  });

  it("goes to another cell when the first one loses it", async () => {
    const { id } = (await call(path, { body: ask })).json();
    await vi.waitFor(() => expect(cells.turns).toHaveLength(1));
    cells.frames = (afterSeq) =>
      cells.turns.length === 1 ? errorAnswer(404, "not_found") : framesAfter(afterSeq);
    isDone = true;
    await between();
    await vi.waitFor(async () => expect(await statusOf(id)).toBeUndefined(), 5_000);
    expect(cells.turns.map(({ turn }) => turn?.attempt)).toEqual([1, 2]);
    expect(new Set(cells.turns.map(({ cell }) => cell)).size).toBe(2);
  });

  it("is cancelled at its cell before the reply, and billed for what was generated", async () => {
    const { id } = (await call(path, { body: { ...ask, conversation: undefined } })).json();
    await vi.waitFor(async () => expect(await statusOf(id)).toBe("in_progress"), 5_000);
    cells.stop = () => {
      const error = { code: "client_closed", message: "stopped" } as const;
      const usage = { promptTokens: 7, completionTokens: 2, cachedTokens: 0, reasoningTokens: 0 };
      const outcome = outcomeOf(lastTurn(), { status: "cancelled", error, items: [], usage });
      return streamOf([formatOutcomeBlock(JSON.stringify({ ...outcome, body: null }))]);
    };
    await between();
    const cancelled = await call(`${path}/${String(id)}/cancel`, { method: "POST" });
    expect(cancelled.status).toBe(200);
    expect(cancelled.json()).toMatchObject({ id, status: "cancelled", error: null, output: [] });
    expect(cells.seen.filter(({ method }) => method === "DELETE")).toHaveLength(1);
    await between();
    const again = await call(`${path}/${String(id)}/cancel`, { method: "POST" });
    expect(again.text).toBe(cancelled.text);
    expect(cells.seen.filter(({ method }) => method === "DELETE")).toHaveLength(1);
    expect(await statusOf(id)).toBe("cancelled");
  });
});

describe("a background response", () => {
  it("streams what it generates, and ends with the stream's own end", async () => {
    isDone = true;
    const answer = await call(path, { body: { ...ask, stream: true } });
    expect(answer.headers.get("content-type")).toContain("text/event-stream");
    expect(answer.text).toContain("Hel");
    expect(answer.text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(cells.turns).toHaveLength(1);
  });

  it("tells a reader that it was cancelled", async () => {
    const reading = call(path, { body: { ...ask, stream: true } });
    await vi.waitFor(() => expect(cells.turns).toHaveLength(1));
    const { publicId } = lastTurn().rendering;
    await call(`${path}/${publicId}/cancel`, { method: "POST" });
    expect((await reading).text).toContain('"code":"cancelled"');
  });

  it("runs once under one key, whoever asks how often", async () => {
    const headers = { "idempotency-key": "k1" };
    const [first, second] = await Promise.all([
      call(path, { body: ask, headers }),
      call(path, { body: ask, headers }),
    ]);
    expect(first.json()["id"]).toBe(second.json()["id"]);
    await vi.waitFor(() => expect(cells.turns).toHaveLength(1));
  });

  it("is refused where its answer could not be read later", async () => {
    const answer = await call(path, { body: { ...ask, store: false } });
    expect(answer.status).toBe(400);
    expect(answer.error()).toMatchObject({ param: "background" });
  });

  it("can be cancelled, another one cannot, and neither can somebody else's", async () => {
    cells.answers = (turn) => streamOf([formatOutcomeBlock(JSON.stringify(outcomeOf(turn)))]);
    await call(path, { body: { model: "sim/llama", input: "Hi" } });
    const { publicId } = lastTurn().rendering;
    const refused = await call(`${path}/${publicId}/cancel`, { method: "POST" });
    expect(refused.status).toBe(400);
    const foreign = await call(`${path}/${publicId}/cancel`, {
      method: "POST",
      key: testKeys.initech,
    });
    expect(foreign.status).toBe(404);
  });

  it("gives back what a tenant's ledger had reserved beyond what was used", async () => {
    const { id } = (await call(path, { body: ask, key: testKeys.initech })).json();
    isDone = true;
    await vi.waitFor(
      async () =>
        expect((await call(`${path}/${String(id)}`, { key: testKeys.initech })).text).toContain(
          answerText,
        ),
      { timeout: 5_000, interval: 100 },
    );
    await vi.waitFor(async () => {
      const [ledger] = await listDurableObjectIds(env.TENANT_LEDGER);
      if (ledger === undefined) throw new Error("no ledger");
      const open = await runInDurableObject(env.TENANT_LEDGER.get(ledger), (_, state) =>
        state.storage.sql.exec("SELECT * FROM reservations").toArray(),
      );
      expect(open).toEqual([]);
    }, 5_000);
  });
});
