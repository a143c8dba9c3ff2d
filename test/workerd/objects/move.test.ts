import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ConversationRpc, MigrateInput, TurnLease } from "#shared/conversation/rpc.ts";
import { historyLink } from "#shared/protocol/internal/history.ts";
import type { HistoryCommand } from "#shared/protocol/internal/history.ts";
import type { PrewarmRequest } from "#shared/protocol/internal/prewarm.ts";
import type { RegionId } from "#shared/residency/brands.ts";
import {
  aScope,
  aTemplate,
  aTurn,
  anOutcome,
  cellA,
  cellB,
} from "#test/support/conversation-builders.ts";
import { MemoryHistory } from "#test/support/memory-history.ts";
import type { Kept } from "#test/support/memory-history.ts";

type Stub = DurableObjectStub & ConversationRpc;

/** Every test runs as it is and again with the object evicted at each call that it makes: storage stays, memory goes. */
const variants = [
  { title: "kept in memory", isEvicted: false },
  { title: "evicted between the steps", isEvicted: true },
];

const model = "sim/llama";
const turns = ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"] as const;

let databases: Record<string, MemoryHistory>;
let prewarms: PrewarmRequest[];

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
  databases = {
    "eu-west-1a.test": new MemoryHistory(() => ""),
    "eu-central-1a.test": new MemoryHistory(() => ""),
  };
  prewarms = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init);
    const { hostname, pathname } = new URL(request.url);
    const text = await request.text();
    if (pathname === "/internal/prewarm") {
      prewarms.push(JSON.parse(text) as PrewarmRequest);
      const shard = `${hostname.replace(".test", "")}/llama-0`;
      return Response.json({ kind: "warmed", shard, promptTokens: 80, cachedTokens: 0 });
    }
    const database = databases[hostname];
    if (pathname !== "/internal/history" || database === undefined) return Response.json({});
    const reply = database.execute(JSON.parse(text) as HistoryCommand);
    return Response.json(
      reply.kind === "sealed" ? { ...reply, chain: await chainOf(database.items) } : reply,
    );
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});

function aStub(name: string): Stub {
  return env.CONVERSATION.getByName(name) as unknown as Stub;
}

async function begin(stub: Stub, turnRandom: string) {
  const template = aTemplate();
  return stub.beginTurn({
    ...aTurn(turnRandom),
    template: { ...template, engine: { ...template.engine, model } },
    deadlineMs: Date.now() + 600_000,
  });
}

async function leaseOf(stub: Stub, turnRandom: string): Promise<TurnLease> {
  const result = await begin(stub, turnRandom);
  if (result.kind !== "lease") throw new Error(`no lease: ${JSON.stringify(result)}`);
  return result.lease;
}

async function complete(stub: Stub, lease: TurnLease): Promise<void> {
  const { attempt, turnId } = lease;
  const outcome = anOutcome(lease);
  await stub.completeTurn({ scope: aScope(), turnId, attempt, segment: null, outcome });
}

function aMove(more: Partial<MigrateInput> = {}): MigrateInput {
  return {
    scope: aScope(),
    moveId: "move_1",
    destinations: [
      { cell: cellB, region: "eu-central-1" as RegionId, shard: null, models: [model] },
    ],
    regions: { [cellA]: "eu-west-1" as RegionId, [cellB]: "eu-central-1" as RegionId },
    ...more,
  };
}

/** Runs the alarm until the move has ended; the object is evicted before each one where the variant says so. */
async function finish(stub: Stub, isEvicted: boolean) {
  for (let count = 0; count < 30; count += 1) {
    const home = await stub.readHome(aScope());
    if (home.kind !== "ok") throw new Error("no home");
    const { move } = home.value;
    if (move?.step === "failed") return home.value;
    if (move?.step === "done" && move.oldCopy !== "leaving") return home.value;
    if (isEvicted) await evictDurableObject(stub);
    await runDurableObjectAlarm(stub);
  }
  throw new Error("the move does not end");
}

describe.each(variants)("a conversation object that moves, $title", ({ title, isEvicted }) => {
  it("takes its history to another region and goes on there", async () => {
    const stub = aStub(`move ${title}`);
    await complete(stub, await leaseOf(stub, turns[0]));
    if (isEvicted) await evictDurableObject(stub);
    expect(await stub.migrate(aMove())).toMatchObject({ kind: "ok" });
    const home = await finish(stub, isEvicted);
    expect(home).toMatchObject({
      homeCell: cellB,
      homeShard: "eu-central-1a/llama-0",
      historyCell: cellB,
      move: { step: "done", oldCopy: "gone", prewarm: { promptTokens: 80, cachedTokens: 0 } },
    });
    expect(databases["eu-west-1a.test"]?.items).toEqual([]);
    expect(databases["eu-central-1a.test"]?.items.map(({ seq }) => seq)).toEqual([1, 2]);
    expect(prewarms[0]).toMatchObject({ tenant: "acme", jurisdiction: "eu", model, shard: null });
    const next = await leaseOf(stub, turns[1]);
    expect(next).toMatchObject({ cell: cellB, homeShard: "eu-central-1a/llama-0" });
    expect(next.items).toHaveLength(3);
    await complete(stub, next);
    await runDurableObjectAlarm(stub);
    expect(databases["eu-central-1a.test"]?.items).toHaveLength(4);
  });

  it("waits for its running turn, refuses the next one, and then goes", async () => {
    const stub = aStub(`wait ${title}`);
    const lease = await leaseOf(stub, turns[0]);
    const asked = await stub.migrate(aMove());
    expect(asked).toMatchObject({ value: { move: { step: "freezing" } } });
    if (isEvicted) await evictDurableObject(stub);
    expect(await begin(stub, turns[1])).toMatchObject({ error: { code: "conversation_locked" } });
    // The object moves by its own alarm as soon as the turn has ended: without its destination it does not come to an end.
    const destination = databases["eu-central-1a.test"];
    if (destination === undefined) throw new Error("no database");
    destination.isDown = true;
    await complete(stub, lease);
    expect(await begin(stub, turns[1])).toMatchObject({
      error: { code: "conversation_locked", retryAfterMs: 1_000 },
    });
    destination.isDown = false;
    await vi.waitFor(
      async () => {
        const moved = { homeCell: cellB, move: { step: "done" } };
        expect(await stub.readHome(aScope())).toMatchObject({ value: moved });
      },
      { timeout: 4_500, interval: 50 },
    );
    expect((await begin(stub, turns[1])).kind).toBe("lease");
  });

  it("gives two movers one move, and refuses a third that goes elsewhere", async () => {
    const stub = aStub(`movers ${title}`);
    const lease = await leaseOf(stub, turns[0]);
    const [first, second] = await Promise.all([
      stub.migrate(aMove()),
      stub.migrate(aMove({ moveId: "move_2" })),
    ]);
    if (isEvicted) await evictDurableObject(stub);
    expect(
      [first, second].map((one) => (one.kind === "ok" ? one.value.move?.moveId : null)),
    ).toEqual(["move_1", "move_1"]);
    const [elsewhere] = aMove().destinations;
    if (elsewhere === undefined) throw new Error("no destination");
    const third = aMove({ moveId: "move_3", destinations: [{ ...elsewhere, cell: cellA }] });
    expect(await stub.migrate(third)).toMatchObject({ error: { code: "conversation_locked" } });
    await complete(stub, lease);
    await finish(stub, isEvicted);
  });
});

describe.each(variants)(
  "a move that stops in the middle of its copy, $title",
  ({ isEvicted, title }) => {
    it("refuses turns meanwhile, and goes on by its alarm", async () => {
      const stub = aStub(`stops ${title}`);
      await complete(stub, await leaseOf(stub, turns[0]));
      const destination = databases["eu-central-1a.test"];
      if (destination === undefined) throw new Error("no database");
      destination.isDown = true;
      const stopped = await stub.migrate(aMove());
      expect(stopped).toMatchObject({
        value: { historyCell: cellA, move: { step: "copying", oldCopy: "kept", copiedItems: 0 } },
      });
      expect(await begin(stub, turns[1])).toMatchObject({ error: { code: "conversation_locked" } });
      if (isEvicted) await evictDurableObject(stub);
      destination.isDown = false;
      await vi.waitFor(
        async () => {
          const moved = { homeCell: cellB, move: { step: "done", oldCopy: "gone" } };
          expect(await stub.readHome(aScope())).toMatchObject({ value: moved });
        },
        { timeout: 4_500, interval: 50 },
      );
      expect(databases["eu-west-1a.test"]?.items).toEqual([]);
      expect(prewarms).toHaveLength(1);
      expect((await begin(stub, turns[1])).kind).toBe("lease");
    });
  },
);
