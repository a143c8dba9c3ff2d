import { describe, expect, it } from "vitest";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import type { BeginTurnInput, TurnLease } from "#shared/conversation/rpc.ts";
import { checkpoint, completeTurn, failover } from "#shared/conversation/run-turn.ts";
import {
  readContext,
  readJournal,
  readTurn,
  readTurnInput,
  deleteTurn,
} from "#shared/conversation/turns.ts";
import {
  aContext,
  aScope,
  aTurn,
  anItem,
  anOutcome,
  cellA,
  cellB,
} from "#test/support/conversation-builders.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { MemoryConversationStore } from "#test/support/memory-conversation-store.ts";

const first = "aaaaaaaaaaaa";
const second = "bbbbbbbbbbbb";

function lease(store: MemoryConversationStore, input: BeginTurnInput, nowMs = 1_000): TurnLease {
  const result = beginTurn(aContext(store, nowMs), input);
  if (result.kind !== "lease") throw new Error(`expected a lease, got ${JSON.stringify(result)}`);
  return result.lease;
}

function complete(store: MemoryConversationStore, held: TurnLease): void {
  completeTurn(aContext(store), {
    scope: aScope(),
    turnId: held.turnId,
    attempt: held.attempt,
    segment: null,
    outcome: anOutcome(held),
  });
}

describe("a turn", () => {
  it("leases the best cell with the history, the new items last", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first)));
    const held = lease(store, aTurn(second));
    expect(held.cell).toBe(cellA);
    expect(held.homeShard).toBe("eu-west-1a/llama-0");
    expect(held.items.map((item) => item.id)).toEqual([
      `msg_${first}`,
      expect.stringMatching(/^ans_/),
      `msg_${second}`,
    ]);
  });

  it("keeps its home over a turn that was spilled to another shard, and moves at the second", () => {
    const store = new MemoryConversationStore();
    const elsewhere = "eu-west-1a/llama-1" as ShardId;
    complete(store, lease(store, aTurn(first)));
    for (const [turn, home] of [
      [second, "eu-west-1a/llama-0"],
      ["cccccccccccc", elsewhere],
    ] as const) {
      const held = lease(store, aTurn(turn));
      const outcome = { ...anOutcome(held), shard: elsewhere, spill: "once" as const };
      const { attempt, turnId } = held;
      completeTurn(aContext(store), { scope: aScope(), turnId, attempt, segment: null, outcome });
      expect(store.readHead()?.homeShard).toBe(home);
    }
  });

  it("binds to the shard of another cell at once, whatever was passed by there", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first)));
    const held = lease(store, aTurn(second, { cells: [cellB] }));
    const shard = "eu-central-1a/llama-1" as ShardId;
    const outcome = { ...anOutcome(held), cell: cellB, shard, spill: "once" as const };
    const { attempt, turnId } = held;
    completeTurn(aContext(store), { scope: aScope(), turnId, attempt, segment: null, outcome });
    expect(store.readHead()).toMatchObject({ homeCell: cellB, homeShard: shard });
  });

  it("keeps the home cell although another is ranked first", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first)));
    expect(lease(store, aTurn(second, { cells: [cellB, cellA] })).cell).toBe(cellA);
  });

  it("goes to another cell, without a home shard, when the home cell may not be used", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first)));
    expect(lease(store, aTurn(second, { cells: [cellB] }))).toMatchObject({
      cell: cellB,
      homeShard: null,
    });
  });

  it("refuses a second turn while one runs, and appends nothing", () => {
    const store = new MemoryConversationStore();
    lease(store, aTurn(first));
    const result = beginTurn(aContext(store), aTurn(second));
    expect(result).toMatchObject({
      kind: "refused",
      error: { code: "conversation_locked", retryAfterMs: 1_000 },
    });
    expect(store.items.size).toBe(1);
    expect(store.turns.size).toBe(1);
  });

  it("refuses when no cell is left, and stores nothing", () => {
    const store = new MemoryConversationStore();
    expect(beginTurn(aContext(store), aTurn(first, { cells: [] }))).toMatchObject({
      kind: "refused",
      error: { code: "no_capacity_in_jurisdiction" },
    });
    expect(store.head).toBeNull();
    expect(store.items.size).toBe(0);
  });

  it("does not create a conversation that must exist", () => {
    const store = new MemoryConversationStore();
    expect(beginTurn(aContext(store), aTurn(first, { mode: "existing" }))).toMatchObject({
      kind: "refused",
      error: { code: "not_found" },
    });
  });

  it("refuses a call whose scope is another tenant's", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first)));
    const foreign = aTurn(second, { scope: aScope({ tenant: "other" as never }) });
    expect(() => beginTurn(aContext(store), foreign)).toThrow(/scope/);
  });

  it("refuses an item that is larger than a row", () => {
    const store = new MemoryConversationStore();
    const result = beginTurn(
      aContext(store),
      aTurn(first, { newItems: [anItem("big", "x".repeat(1_900_000))] }),
    );
    expect(result).toMatchObject({ kind: "refused", error: { code: "body_too_large" } });
    expect(store.items.size).toBe(0);
  });

  it("withdraws the input of a turn that failed", () => {
    const store = new MemoryConversationStore();
    const held = lease(store, aTurn(first));
    const error = { code: "upstream_invalid", message: "no" } as const;
    completeTurn(aContext(store), {
      scope: aScope(),
      turnId: held.turnId,
      attempt: 1,
      segment: null,
      outcome: anOutcome(held, { status: "failed", items: [], body: null, error }),
    });
    expect(store.items.get(1)).toMatchObject({ isTombstone: true, json: "" });
    expect(lease(store, aTurn(second)).items.map((item) => item.id)).toEqual([`msg_${second}`]);
  });
});

describe("an idempotency key", () => {
  const idempotency = { key: "chat;k", bodySha256: "1" };

  it("finds the running turn, then the stored answer", () => {
    const store = new MemoryConversationStore();
    const held = lease(store, aTurn(first, { idempotency }));
    expect(beginTurn(aContext(store), aTurn(second, { idempotency }))).toMatchObject({
      kind: "replay",
      turn: { state: "running", turnId: held.turnId },
    });
    complete(store, held);
    expect(beginTurn(aContext(store), aTurn(second, { idempotency }))).toMatchObject({
      kind: "replay",
      turn: { state: "completed", body: '{"id":"resp_1"}' },
    });
    expect(store.turns.size).toBe(1);
  });

  it("is refused with another body", () => {
    const store = new MemoryConversationStore();
    lease(store, aTurn(first, { idempotency }));
    expect(
      beginTurn(
        aContext(store),
        aTurn(second, { idempotency: { ...idempotency, bodySha256: "2" } }),
      ),
    ).toMatchObject({
      kind: "refused",
      error: { code: "idempotency_key_reused" },
    });
  });
});

describe("a turn that follows another", () => {
  it("goes on in the conversation when it follows the last turn", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first)));
    expect(lease(store, aTurn(second, { parentTurnRandom: first })).items).toHaveLength(3);
  });

  it("forks with a copy of the history when it follows an earlier turn", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first)));
    complete(store, lease(store, aTurn(second)));
    const result = beginTurn(aContext(store), aTurn("cccccccccccc", { parentTurnRandom: first }));
    expect(result.kind).toBe("fork");
    expect(result.kind === "fork" && result.items).toHaveLength(2);
    expect(store.items.size).toBe(4);
  });

  it("is refused when the parent was never stored or is unknown", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first, { isStored: false })));
    for (const parentTurnRandom of [first, "zzzzzzzzzzzz"]) {
      expect(beginTurn(aContext(store), aTurn(second, { parentTurnRandom }))).toMatchObject({
        kind: "refused",
        error: { code: "not_found", param: "previous_response_id" },
      });
    }
  });
});

describe("the journal", () => {
  const segment = (fromSeq: number, toSeq: number) => ({
    fromSeq,
    toSeq,
    text: Array.from(
      { length: toSeq - fromSeq + 1 },
      (_, n) => `id: ${fromSeq + n}\ndata: ${fromSeq + n}\n\n`,
    ).join(""),
  });

  it("holds each frame once although segments overlap", () => {
    const store = new MemoryConversationStore();
    const { turnId } = lease(store, aTurn(first));
    const scope = aScope();
    checkpoint(aContext(store), { scope, turnId, attempt: 1, segment: segment(1, 3) });
    checkpoint(aContext(store), { scope, turnId, attempt: 1, segment: segment(2, 5) });
    checkpoint(aContext(store), { scope, turnId, attempt: 1, segment: segment(4, 5) });
    expect(readJournal(aContext(store), { scope, turnRandom: first, afterSeq: 0 })).toMatchObject({
      value: { text: segment(1, 5).text, toSeq: 5 },
    });
    expect(readJournal(aContext(store), { scope, turnRandom: first, afterSeq: 3 })).toMatchObject({
      value: { text: segment(4, 5).text },
    });
  });

  it("of a conversation that a key has made is found by the key for as long as it is there", () => {
    const store = new MemoryConversationStore();
    const idempotency = { key: "/v1/chat/completions;k", bodySha256: "a" };
    const held = lease(store, aTurn(first, { idempotency }));
    complete(store, held);
    const inAYearMs = aContext(store).nowMs + 365 * 86_400_000;
    store.purge(inAYearMs, 86_400_000);
    const later = { ...aContext(store), nowMs: inAYearMs };
    expect(beginTurn(later, aTurn(second, { idempotency }))).toMatchObject({
      kind: "replay",
      turn: { turnRandom: first },
    });
  });

  it("is kept as long as the tenant's streams are, and then not found", () => {
    const store = new MemoryConversationStore();
    const held = lease(store, aTurn(first, { streamsKeptMs: 60_000 }));
    const scope = aScope();
    checkpoint(aContext(store), {
      scope,
      turnId: held.turnId,
      attempt: 1,
      segment: segment(1, 3),
    });
    complete(store, held);
    const endedAtMs = store.turns.get(first)?.endedAtMs ?? 0;
    const readAt = (nowMs: number) =>
      readJournal({ ...aContext(store), nowMs }, { scope, turnRandom: first, afterSeq: 0 });
    expect(readAt(endedAtMs + 59_999).kind).toBe("ok");
    expect(readAt(endedAtMs + 60_000)).toMatchObject({ error: { code: "not_found" } });
  });

  it("never holds a gap", () => {
    const store = new MemoryConversationStore();
    const { turnId } = lease(store, aTurn(first));
    const input = { scope: aScope(), turnId, attempt: 1, segment: segment(3, 4) };
    expect(checkpoint(aContext(store), input)).toEqual({ kind: "ok" });
    expect(store.turns.get(first)?.journalToSeq).toBe(0);
  });

  it("refuses frames of a superseded attempt", () => {
    const store = new MemoryConversationStore();
    const { turnId } = lease(store, aTurn(first));
    const scope = aScope();
    const moved = failover(aContext(store), {
      scope,
      turnId,
      attempt: 1,
      segment: segment(1, 2),
      reason: "unreachable",
      surplusTokens: 0,
      continuations: 0,
      cells: [cellA, cellB],
    });
    expect(moved).toMatchObject({
      kind: "lease",
      lease: {
        attempt: 2,
        cell: cellB,
        resume: { frames: segment(1, 2).text, toSeq: 2, continuations: 1 },
      },
    });
    expect(
      checkpoint(aContext(store), { scope, turnId, attempt: 1, segment: segment(3, 3) }),
    ).toEqual({
      kind: "superseded",
    });
    expect(store.outbox.map((row) => row.entry)).toEqual([
      { kind: "abort", cell: cellA, turnId, attempt: 1 },
    ]);
  });

  it("leases the same attempt to a failover that is repeated", () => {
    const store = new MemoryConversationStore();
    const { turnId } = lease(store, aTurn(first));
    const input = {
      scope: aScope(),
      turnId,
      attempt: 1,
      segment: segment(1, 2),
      reason: "cut",
      surplusTokens: 0,
      continuations: 0,
      cells: [cellA, cellB],
    };
    const moved = failover(aContext(store), input);
    expect(failover(aContext(store), input)).toEqual(moved);
    expect(store.outbox).toHaveLength(1);
  });

  it("stops a failover when there is no other cell", () => {
    const store = new MemoryConversationStore();
    const { turnId } = lease(store, aTurn(first));
    const input = {
      scope: aScope(),
      turnId,
      attempt: 1,
      segment: null,
      reason: "x",
      surplusTokens: 0,
      continuations: 0,
      cells: [cellA],
    };
    expect(failover(aContext(store), input)).toMatchObject({
      kind: "stop",
      error: { code: "no_capacity_in_jurisdiction" },
    });
  });

  it("moves an answer that nobody has seen as often as there are cells", () => {
    const store = new MemoryConversationStore();
    const { turnId } = lease(store, aTurn(first));
    const input = {
      scope: aScope(),
      turnId,
      segment: null,
      reason: "x",
      surplusTokens: 0,
      continuations: 0,
    };
    for (const attempt of [1, 2, 3]) {
      expect(failover(aContext(store), { ...input, attempt, cells: [cellA, cellB] })).toMatchObject(
        { kind: "lease", lease: { attempt: attempt + 1, resume: null } },
      );
    }
  });

  it("continues a begun answer twice at most, those inside the failed cell included", () => {
    const store = new MemoryConversationStore();
    const { turnId } = lease(store, aTurn(first));
    const input = { scope: aScope(), turnId, reason: "x", surplusTokens: 0, cells: [cellA, cellB] };
    expect(
      failover(aContext(store), {
        ...input,
        attempt: 1,
        segment: segment(1, 2),
        continuations: 1,
      }),
    ).toMatchObject({ kind: "lease", lease: { resume: { continuations: 2 } } });
    expect(
      failover(aContext(store), { ...input, attempt: 2, segment: null, continuations: 0 }),
    ).toMatchObject({ kind: "stop", error: { code: "interrupted" } });
  });
});

describe("completing", () => {
  it("happens once, whoever repeats it", () => {
    const store = new MemoryConversationStore();
    const held = lease(store, aTurn(first));
    complete(store, held);
    complete(store, held);
    expect(store.items.size).toBe(2);
    expect(store.outbox.filter((row) => row.entry.kind === "usage")).toHaveLength(1);
  });

  it("is refused for a turn that nobody knows", () => {
    const store = new MemoryConversationStore();
    const held = lease(store, aTurn(first));
    const { turnId } = lease(new MemoryConversationStore(), aTurn(second));
    const outcome = anOutcome(held);
    expect(
      completeTurn(aContext(store), {
        scope: aScope(),
        turnId,
        attempt: 1,
        segment: null,
        outcome,
      }),
    ).toEqual({
      kind: "unknownTurn",
    });
  });
});

describe("a turn that its object has ended meanwhile", () => {
  function endedByObject(): { store: MemoryConversationStore; held: TurnLease } {
    const store = new MemoryConversationStore();
    const held = lease(store, aTurn(first));
    complete(store, held);
    return { store, held };
  }

  it("is not lost to a Worker that wants another cell for it: its answer is there to be read", () => {
    const { store, held } = endedByObject();
    const { turnId, attempt } = held;
    expect(
      failover(aContext(store), {
        scope: aScope(),
        turnId,
        attempt,
        segment: null,
        reason: "ended",
        surplusTokens: 0,
        continuations: 0,
        cells: [cellA, cellB],
      }),
    ).toEqual({ kind: "superseded" });
  });

  it("is not shown as ended otherwise than it has", () => {
    const { store, held } = endedByObject();
    const { turnId, attempt } = held;
    const end = { scope: aScope(), turnId, attempt, segment: null };
    const failed = anOutcome(held, { status: "failed" });
    expect(completeTurn(aContext(store), { ...end, outcome: failed })).toEqual({
      kind: "superseded",
    });
    expect(completeTurn(aContext(store), { ...end, outcome: anOutcome(held) })).toEqual({
      kind: "ok",
    });
  });
});

describe("a stored response", () => {
  it("is found with its input, and forgotten when deleted", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first)));
    const input = { scope: aScope(), turnRandom: first };
    expect(readTurn(aContext(store), input)).toMatchObject({
      kind: "ok",
      value: { body: '{"id":"resp_1"}' },
    });
    expect(readTurnInput(aContext(store), input)).toMatchObject({
      value: [{ id: `msg_${first}` }],
    });
    expect(deleteTurn(aContext(store), input)).toMatchObject({ kind: "ok" });
    for (const read of [readTurn, readTurnInput, readContext, deleteTurn]) {
      expect(read(aContext(store), input)).toMatchObject({
        kind: "refused",
        error: { code: "not_found" },
      });
    }
    expect(store.items.size).toBe(2);
  });

  it("is not found when the request said not to store it", () => {
    const store = new MemoryConversationStore();
    complete(store, lease(store, aTurn(first, { isStored: false })));
    expect(readTurn(aContext(store), { scope: aScope(), turnRandom: first })).toMatchObject({
      kind: "refused",
    });
  });
});
