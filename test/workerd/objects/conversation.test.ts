import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { BeginTurnInput, ConversationRpc, TurnLease } from "#shared/conversation/rpc.ts";
import { aScope, aTurn, anItem, anOutcome, cellA } from "#test/support/conversation-builders.ts";

const first = "aaaaaaaaaaaa";
const second = "bbbbbbbbbbbb";

type Stub = DurableObjectStub & ConversationRpc;

/** Every test runs as it is and again with the object evicted between its steps: storage stays, memory goes. */
const variants = [
  { title: "kept in memory", between: async (_: Stub) => undefined },
  { title: "evicted between the steps", between: async (stub: Stub) => evictDurableObject(stub) },
];

function aStub(name: string): Stub {
  return env.CONVERSATION.getByName(name) as unknown as Stub;
}

/** A turn with time left: the object reads a real clock. */
function aTimelyTurn(turnRandom: string, overrides: Partial<BeginTurnInput> = {}): BeginTurnInput {
  return aTurn(turnRandom, { deadlineMs: Date.now() + 600_000, ...overrides });
}

async function leaseOf(stub: Stub, input = aTimelyTurn(first)): Promise<TurnLease> {
  const result = await stub.beginTurn(input);
  if (result.kind !== "lease") throw new Error(`no lease: ${JSON.stringify(result)}`);
  return result.lease;
}

interface SentCall {
  readonly path: string;
  readonly body: unknown;
}

/** Stands for the cells: records what objects send and answers each history command with `reply`. */
function fakeCells(reply: () => Response): SentCall[] {
  const sent: SentCall[] = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init);
    const text = await request.text();
    sent.push({ path: new URL(request.url).pathname, body: text === "" ? null : JSON.parse(text) });
    return reply();
  });
  return sent;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(variants)("a conversation object $title", ({ title, between }) => {
  it("keeps items, order and home over turns", async () => {
    const stub = aStub(`order ${title}`);
    const lease = await leaseOf(stub);
    await between(stub);
    const done = {
      scope: aScope(),
      turnId: lease.turnId,
      attempt: 1,
      segment: null,
      outcome: anOutcome(lease),
    };
    expect(await stub.completeTurn(done)).toEqual({ kind: "ok" });
    await between(stub);
    const next = await leaseOf(stub, aTimelyTurn(second));
    expect(next.items.map((item) => item.id)).toEqual([
      `msg_${first}`,
      `ans_${lease.turnId}`,
      `msg_${second}`,
    ]);
    expect(next.homeShard).toBe("eu-west-1a/llama-0");
    expect(next.cell).toBe(cellA);
  });

  it("raises its incarnation when it was replaced, and only then", async () => {
    const stub = aStub(`incarnation ${title}`);
    const lease = await leaseOf(stub);
    await between(stub);
    const done = {
      scope: aScope(),
      turnId: lease.turnId,
      attempt: 1,
      segment: null,
      outcome: anOutcome(lease),
    };
    await stub.completeTurn(done);
    const next = await leaseOf(stub, aTimelyTurn(second));
    expect(next.incarnation).toBe(title.startsWith("evicted") ? 2 : 1);
  });

  it("refuses a second turn while one runs", async () => {
    const stub = aStub(`lock ${title}`);
    await leaseOf(stub);
    await between(stub);
    expect(await stub.beginTurn(aTimelyTurn(second))).toMatchObject({
      error: { code: "conversation_locked" },
    });
  });

  it("gives the stored answer to the same idempotency key, and refuses another body", async () => {
    const stub = aStub(`idempotency ${title}`);
    const idempotency = { key: "responses;k", bodySha256: "1" };
    const lease = await leaseOf(stub, aTimelyTurn(first, { idempotency }));
    const done = {
      scope: aScope(),
      turnId: lease.turnId,
      attempt: 1,
      segment: null,
      outcome: anOutcome(lease),
    };
    await stub.completeTurn(done);
    await between(stub);
    expect(await stub.beginTurn(aTimelyTurn(second, { idempotency }))).toMatchObject({
      kind: "replay",
      turn: { state: "completed", body: '{"id":"resp_1"}' },
    });
    const other = { ...idempotency, bodySha256: "2" };
    expect(await stub.beginTurn(aTimelyTurn(second, { idempotency: other }))).toMatchObject({
      error: { code: "idempotency_key_reused" },
    });
  });

  it("journals frames once and gives them back byte for byte", async () => {
    const stub = aStub(`journal ${title}`);
    const { turnId } = await leaseOf(stub);
    const scope = aScope();
    const text = 'id: 1\ndata: {"a":"é🙂"}\n\nid: 2\ndata: 2\n\n';
    await stub.checkpoint({ scope, turnId, attempt: 1, segment: { fromSeq: 1, toSeq: 2, text } });
    await between(stub);
    await stub.checkpoint({ scope, turnId, attempt: 1, segment: { fromSeq: 1, toSeq: 2, text } });
    expect(await stub.readJournal({ scope, turnRandom: first, afterSeq: 0 })).toMatchObject({
      value: { text, toSeq: 2 },
    });
    expect(await stub.readJournal({ scope, turnRandom: first, afterSeq: 1 })).toMatchObject({
      value: { text: "id: 2\ndata: 2\n\n" },
    });
  });

  it("delivers the history in order when the alarm comes, and again when the database was away", async () => {
    const stub = aStub(`outbox ${title}`);
    const lease = await leaseOf(stub);
    const done = {
      scope: aScope(),
      turnId: lease.turnId,
      attempt: 1,
      segment: null,
      outcome: anOutcome(lease),
    };
    await stub.completeTurn(done);
    const down = fakeCells(() => new Response('{"kind":"unavailable"}', { status: 503 }));
    await runDurableObjectAlarm(stub);
    expect(down.length).toBeGreaterThan(0);
    vi.restoreAllMocks();
    await evictDurableObject(stub);
    const sent = fakeCells(() => Response.json({ kind: "applied" }));
    await runDurableObjectAlarm(stub);
    await between(stub);
    expect(sent).toMatchObject([
      {
        path: "/internal/history",
        body: {
          kind: "append",
          fromSeq: 1,
          items: [{ seq: 1 }, { seq: 2 }],
          usage: [{ turnId: lease.turnId }],
        },
      },
    ]);
    await runDurableObjectAlarm(stub);
    expect(sent).toHaveLength(1);
  });

  it("erases everything, here and in the database, and stays erased", async () => {
    const stub = aStub(`erase ${title}`);
    const scope = aScope();
    await stub.create({
      scope,
      idempotency: null,
      metadata: { secret: "x" },
      items: [anItem("msg_1", "secret")],
      cells: [cellA],
    });
    await between(stub);
    const sent = fakeCells(() => Response.json({ kind: "applied" }));
    expect(await stub.erase(scope)).toEqual({ kind: "ok", value: { isDatabaseErased: true } });
    expect(sent.at(-1)).toMatchObject({ body: { kind: "erase" } });
    await between(stub);
    expect(await stub.describe(scope)).toMatchObject({ error: { code: "not_found" } });
    expect(await stub.beginTurn(aTimelyTurn(first))).toMatchObject({
      error: { code: "not_found" },
    });
  });

  it("finishes an erasure whose database was away, from its alarm", async () => {
    const stub = aStub(`erase later ${title}`);
    const scope = aScope();
    await stub.create({
      scope,
      idempotency: null,
      metadata: {},
      items: [anItem("msg_1")],
      cells: [cellA],
    });
    fakeCells(() => new Response('{"kind":"unavailable"}', { status: 503 }));
    expect(await stub.erase(scope)).toEqual({ kind: "ok", value: { isDatabaseErased: false } });
    vi.restoreAllMocks();
    await evictDurableObject(stub);
    const sent = fakeCells(() => Response.json({ kind: "applied" }));
    await runDurableObjectAlarm(stub);
    expect(sent).toMatchObject([{ body: { kind: "erase" } }]);
  });
});

describe("a conversation object", () => {
  it("answers a call of another tenant's scope with an error of its own, and changes nothing", async () => {
    const stub = aStub("scope");
    await leaseOf(stub);
    const foreign = aScope({ tenant: "other" as never });
    expect(await stub.describe(foreign)).toMatchObject({
      kind: "refused",
      error: { code: "internal_error" },
    });
    expect(await stub.describe(aScope())).toMatchObject({ kind: "ok" });
  });

  it("stores nothing for an id that was never used", async () => {
    const stub = aStub("unused");
    expect(await stub.describe(aScope())).toMatchObject({ error: { code: "not_found" } });
    expect(
      await stub.listItems({ scope: aScope(), order: "asc", after: null, limit: 10 }),
    ).toMatchObject({
      error: { code: "not_found" },
    });
    expect(await runDurableObjectAlarm(stub)).toBe(false);
  });

  it("admits exactly one of many turns at once", async () => {
    const stub = aStub("race");
    const randoms = Array.from({ length: 20 }, (_, n) => String.fromCharCode(97 + n).repeat(12));
    const results = await Promise.all(randoms.map((random) => stub.beginTurn(aTimelyTurn(random))));
    expect(results.filter((result) => result.kind === "lease")).toHaveLength(1);
    expect(results.filter((result) => result.kind === "refused")).toHaveLength(19);
  });
});
