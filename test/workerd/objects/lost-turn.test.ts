import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ConversationRpc } from "#shared/conversation/rpc.ts";
import { formatOutcomeBlock } from "#shared/protocol/internal/stream.ts";
import { aScope, aTemplate, aTurn } from "#test/support/conversation-builders.ts";
import {
  FakeCells,
  contentFrames,
  doneFrame,
  errorAnswer,
  outcomeOf,
  streamOf,
} from "../edge/fake-cell.ts";

const first = "aaaaaaaaaaaa";
const scope = aScope();

type Stub = DurableObjectStub & ConversationRpc;

/** Every test runs as it is and again with the object evicted between its steps: storage stays, memory goes. */
const variants = [
  { title: "kept in memory", between: async (_: Stub) => undefined },
  { title: "evicted between the steps", between: async (stub: Stub) => evictDurableObject(stub) },
];

let cells: FakeCells;
let aheadMs: number;

beforeEach(() => {
  cells = new FakeCells();
  cells.answers = () => Response.json({ kind: "started" }, { status: 202 });
  vi.spyOn(globalThis, "fetch").mockImplementation(cells.fetch);
  aheadMs = 0;
  const { now } = Date;
  vi.spyOn(Date, "now").mockImplementation(() => now() + aheadMs);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** An object whose turn runs on the first cell, as a Worker left it. */
async function aRunningTurn(name: string): Promise<Stub> {
  const stub = env.CONVERSATION.getByName(name) as unknown as Stub;
  const template = aTemplate();
  const begun = await stub.beginTurn(
    aTurn(first, {
      deadlineMs: Date.now() + 600_000,
      template: { ...template, engine: { ...template.engine, model: "sim/llama" } },
    }),
  );
  expect(begun.kind).toBe("lease");
  return stub;
}

async function alarmAfter(stub: Stub, ms: number): Promise<void> {
  aheadMs += ms;
  await runDurableObjectAlarm(stub);
}

function readTurn(stub: Stub) {
  return stub.readTurn({ scope, turnRandom: first });
}

/** The new attempt's stream, whole. */
function wholeAnswer(afterSeq: number): Response {
  const turn = cells.turns.at(-1)?.turn;
  if (turn === null || turn === undefined) return errorAnswer(404, "not_found");
  const outcome = formatOutcomeBlock(JSON.stringify(outcomeOf(turn)));
  return streamOf([...contentFrames(turn).slice(afterSeq), outcome, doneFrame()]);
}

describe.each(variants)("an object $title", ({ title, between }) => {
  it("begins a turn whose Worker died before it asked the cell, and completes it", async () => {
    const stub = await aRunningTurn(`never put ${title}`);
    await between(stub);
    cells.frames = wholeAnswer;
    await alarmAfter(stub, 10_100);
    expect(cells.turns.map(({ cell, turn }) => [cell, turn?.attempt])).toEqual([
      ["eu-central-1a", 2],
    ]);
    await between(stub);
    await alarmAfter(stub, 1_100);
    expect(await readTurn(stub)).toMatchObject({ value: { state: "completed", attempt: 2 } });
  });

  it("goes on from its journal when cell and Worker are lost", async () => {
    const stub = await aRunningTurn(`both lost ${title}`);
    const turnId = aTurn(first).turnId;
    const text = 'id: 1\ndata: {"a":1}\n\n';
    const segment = { fromSeq: 1, toSeq: 1, text };
    await stub.checkpoint({ scope, turnId, attempt: 1, segment });
    await between(stub);
    cells.frames = () => {
      throw new Error("Network connection lost.");
    };
    await alarmAfter(stub, 10_100);
    await between(stub);
    await alarmAfter(stub, 1_100);
    expect(cells.turns.at(-1)?.turn).toMatchObject({
      attempt: 2,
      resume: { frames: text, toSeq: 1, continuations: 1 },
    });
    cells.frames = wholeAnswer;
    await between(stub);
    await alarmAfter(stub, 1_100);
    expect(await readTurn(stub)).toMatchObject({
      value: { state: "completed", restartedAfterSeq: 1 },
    });
    const journal = await stub.readJournal({ scope, turnRandom: first, afterSeq: 0 });
    expect(journal).toMatchObject({ value: { toSeq: 4 } });
  });

  it("puts an attempt again when it died before the cell's answer, and the cell runs it once", async () => {
    const stub = await aRunningTurn(`dispatch lost ${title}`);
    cells.answers = () => {
      throw new Error("Network connection lost.");
    };
    await alarmAfter(stub, 10_100);
    await between(stub);
    cells.answers = () => Response.json({ kind: "joined" }, { status: 202 });
    await alarmAfter(stub, 1_000);
    const attempts = cells.turns.map(({ turn }) => turn?.attempt ?? 0);
    expect(attempts).toEqual(attempts.toSorted((a, b) => a - b));
    expect(await readTurn(stub)).toMatchObject({ value: { state: "running" } });
  });

  it("sends the history on while the dead cell cannot be told to stop", async () => {
    const stub = await aRunningTurn(`dead cell ${title}`);
    cells.stop = () => {
      throw new Error("Network connection lost.");
    };
    cells.frames = () => {
      throw new Error("Network connection lost.");
    };
    await alarmAfter(stub, 10_100);
    await alarmAfter(stub, 1_100);
    cells.frames = wholeAnswer;
    await between(stub);
    await alarmAfter(stub, 1_100);
    expect(await readTurn(stub)).toMatchObject({ value: { state: "completed" } });
    // The pauses between the tries to reach the cell grow to half a minute.
    for (let tries = 0; tries < 9; tries += 1) await alarmAfter(stub, 30_100);
    const delivered = () => cells.seen.filter(({ path }) => path === "/internal/history").length;
    const before = delivered();
    expect(before).toBeGreaterThan(0);
    expect(cells.seen.filter(({ method }) => method === "DELETE").length).toBeGreaterThan(0);
    await stub.beginTurn(aTurn("bbbbbbbbbbbb", { deadlineMs: Date.now() + 600_000 }));
    await alarmAfter(stub, 1_100);
    expect(delivered()).toBe(before + 1);
  });

  it("frees the conversation when no cell can be asked any more", async () => {
    const stub = await aRunningTurn(`all lost ${title}`);
    cells.answers = () => {
      throw new Error("Network connection lost.");
    };
    for (let step = 0; step < 20; step += 1) {
      await alarmAfter(stub, 10_100);
      await between(stub);
    }
    expect(await readTurn(stub)).toMatchObject({
      value: { state: "failed", error: { code: "interrupted" } },
    });
    const next = await stub.beginTurn(aTurn("bbbbbbbbbbbb", { deadlineMs: Date.now() + 600_000 }));
    expect(next.kind).toBe("lease");
  });
});
