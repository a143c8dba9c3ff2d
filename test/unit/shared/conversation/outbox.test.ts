import { describe, expect, it } from "vitest";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import {
  addItems,
  createConversation,
  deleteItem,
  eraseConversation,
  listItems,
  readItem,
} from "#shared/conversation/items.ts";
import {
  confirmDelivery,
  deliveryRetryMs,
  hasDelivery,
  nextDelivery,
} from "#shared/conversation/outbox.ts";
import type { Delivery } from "#shared/conversation/outbox.ts";
import { completeTurn } from "#shared/conversation/run-turn.ts";
import type { HistoryReply } from "#shared/protocol/internal/history.ts";
import {
  aContext,
  aScope,
  aTurn,
  anItem,
  anOutcome,
  cellA,
} from "#test/support/conversation-builders.ts";
import { MemoryConversationStore } from "#test/support/memory-conversation-store.ts";

const first = "aaaaaaaaaaaa";

function aConversation(count: number): MemoryConversationStore {
  const store = new MemoryConversationStore();
  const items = Array.from({ length: count }, (_, n) => anItem(`msg_${n + 1}`));
  createConversation(aContext(store), {
    scope: aScope(),
    idempotency: null,
    metadata: {},
    items,
    cells: [cellA],
  });
  return store;
}

function next(store: MemoryConversationStore): Delivery {
  const delivery = nextDelivery(aContext(store));
  if (delivery === null) throw new Error("nothing to deliver");
  return delivery;
}

function seqsOf(delivery: Delivery): readonly number[] {
  return delivery.kind === "history" && delivery.command.kind === "append"
    ? delivery.command.items.map((item) => item.seq)
    : [];
}

describe("the outbox", () => {
  it("delivers items in order and is empty when they are confirmed", () => {
    const store = aConversation(3);
    const delivery = next(store);
    expect(seqsOf(delivery)).toEqual([1, 2, 3]);
    expect(confirmDelivery(aContext(store), delivery, { kind: "applied" })).toBe("delivered");
    expect(hasDelivery(aContext(store))).toBe(false);
    expect(nextDelivery(aContext(store))).toBeNull();
  });

  it("sends again what was not confirmed, and takes a duplicate as success", () => {
    const store = aConversation(1);
    expect(confirmDelivery(aContext(store), next(store), { kind: "unavailable" })).toBe("retry");
    expect(seqsOf(next(store))).toEqual([1]);
    expect(confirmDelivery(aContext(store), next(store), { kind: "duplicate" })).toBe("delivered");
    expect(hasDelivery(aContext(store))).toBe(false);
  });

  it.each([
    [1, [1, 2, 3]],
    [2, [2, 3]],
    [4, []],
  ])("goes on from seq %i when the database asks for it", (nextSeq, expected) => {
    const store = aConversation(3);
    confirmDelivery(aContext(store), next(store), { kind: "applied" });
    addItems(aContext(store), { scope: aScope(), idempotency: null, items: [anItem("msg_4")] });
    const reply: HistoryReply = { kind: "gap", nextSeq };
    confirmDelivery(aContext(store), next(store), reply);
    expect(seqsOf(next(store))).toEqual([...expected, 4]);
  });

  it("stops when a higher incarnation has written", () => {
    const store = aConversation(1);
    expect(confirmDelivery(aContext(store), next(store), { kind: "fenced", fence: 2 })).toBe(
      "fenced",
    );
    expect(hasDelivery(aContext(store))).toBe(true);
  });

  it("backs off up to a maximum", () => {
    const context = aContext(aConversation(0));
    expect([0, 1, 2, 20].map((tries) => deliveryRetryMs(context, tries))).toEqual([
      250, 500, 1_000, 30_000,
    ]);
  });

  it("deletes an item in the database even when its delivery was never confirmed", () => {
    const store = aConversation(2);
    deleteItem(aContext(store), { scope: aScope(), itemId: "msg_1" });
    const append = next(store);
    expect(
      append.kind === "history" &&
        append.command.kind === "append" &&
        append.command.items[0]?.json,
    ).toBe("");
    confirmDelivery(aContext(store), append, { kind: "applied" });
    expect(next(store)).toMatchObject({ command: { kind: "deleteItem", seq: 1 } });
    confirmDelivery(aContext(store), next(store), { kind: "applied" });
    expect(hasDelivery(aContext(store))).toBe(false);
  });
});

describe("an erasure", () => {
  it("leaves no content in the store and orders the same of database and cells", () => {
    const store = new MemoryConversationStore();
    const begun = beginTurn(aContext(store), aTurn(first));
    if (begun.kind !== "lease") throw new Error("no lease");
    const { turnId } = begun.lease;
    completeTurn(aContext(store), {
      scope: aScope(),
      turnId,
      attempt: 1,
      segment: { fromSeq: 1, toSeq: 1, text: "id: 1\ndata: secret\n\n" },
      outcome: anOutcome(begun.lease),
    });
    expect(eraseConversation(aContext(store), aScope())).toMatchObject({ kind: "ok" });
    expect(store.items.size + store.turns.size + store.journals.size + store.keys.size).toBe(0);
    expect(next(store)).toMatchObject({ kind: "abort", turnId });
    confirmDelivery(aContext(store), next(store), { kind: "aborted" });
    expect(next(store)).toMatchObject({ command: { kind: "erase" } });
    confirmDelivery(aContext(store), next(store), { kind: "applied" });
    expect(store.head?.erasure).toBe("erased");
    expect(next(store)).toMatchObject({ command: { kind: "append", items: [] } });
  });

  it("refuses everything afterwards, and never comes back", () => {
    const store = aConversation(1);
    eraseConversation(aContext(store), aScope());
    const refused = { kind: "refused", error: { code: "not_found" } };
    expect(eraseConversation(aContext(store), aScope())).toMatchObject(refused);
    expect(beginTurn(aContext(store), aTurn(first))).toMatchObject(refused);
    expect(
      createConversation(aContext(store), {
        scope: aScope(),
        idempotency: null,
        metadata: {},
        items: [],
        cells: [cellA],
      }),
    ).toMatchObject(refused);
    expect(readItem(aContext(store), { scope: aScope(), itemId: "msg_1" })).toMatchObject(refused);
  });

  it("refuses the frames of a turn that ran when it came", () => {
    const store = new MemoryConversationStore();
    const begun = beginTurn(aContext(store), aTurn(first));
    if (begun.kind !== "lease") throw new Error("no lease");
    eraseConversation(aContext(store), aScope());
    const { turnId } = begun.lease;
    expect(
      completeTurn(aContext(store), {
        scope: aScope(),
        turnId,
        attempt: 1,
        segment: null,
        outcome: anOutcome(begun.lease),
      }),
    ).toEqual({ kind: "unknownTurn" });
    expect(store.items.size).toBe(0);
  });
});

describe("listing", () => {
  it.each(["asc", "desc"] as const)(
    "walks all items once in %s order, page by page, skipping deleted ones",
    (order) => {
      const store = aConversation(7);
      deleteItem(aContext(store), { scope: aScope(), itemId: "msg_3" });
      const seen: string[] = [];
      let after: string | null = null;
      for (let page = 0; page < 10; page += 1) {
        const result = listItems(aContext(store), { scope: aScope(), order, after, limit: 2 });
        if (result.kind !== "ok") throw new Error("refused");
        seen.push(...result.value.items.map((item) => item.id));
        after = result.value.items.at(-1)?.id ?? null;
        if (!result.value.hasMore) break;
      }
      const expected = ["msg_1", "msg_2", "msg_4", "msg_5", "msg_6", "msg_7"];
      expect(seen).toEqual(order === "asc" ? expected : expected.toReversed());
    },
  );

  it("refuses a cursor that is no item", () => {
    expect(
      listItems(aContext(aConversation(1)), {
        scope: aScope(),
        order: "asc",
        after: "msg_x",
        limit: 2,
      }),
    ).toMatchObject({
      kind: "refused",
      error: { code: "invalid_request", param: "after" },
    });
  });
});

describe("a delivery that fails", () => {
  function ended(): MemoryConversationStore {
    const store = new MemoryConversationStore();
    const begun = beginTurn(aContext(store), aTurn(first, { reservationId: "r1" }));
    if (begun.kind !== "lease") throw new Error("no lease");
    const { turnId } = begun.lease;
    const outcome = anOutcome(begun.lease);
    completeTurn(aContext(store), { scope: aScope(), turnId, attempt: 1, segment: null, outcome });
    store.addOutbox({ kind: "abort", cell: cellA, turnId, attempt: 9 });
    return store;
  }

  it("keeps nothing waiting but what must come after it", () => {
    const store = ended();
    const abort = next(store);
    expect(abort.kind).toBe("abort");
    const outboxIds = new Set(abort.outboxIds);
    const settle = nextDelivery(aContext(store), { outboxIds, hasHistory: false });
    expect(settle).toMatchObject({
      kind: "settle",
      reservationId: "r1",
      tenant: "acme",
      promptTokens: 10,
      completionTokens: 5,
    });
    for (const id of settle?.outboxIds ?? []) outboxIds.add(id);
    expect(nextDelivery(aContext(store), { outboxIds, hasHistory: false })?.kind).toBe("history");
    expect(nextDelivery(aContext(store), { outboxIds, hasHistory: true })).toBeNull();
    expect(hasDelivery(aContext(store))).toBe(true);
  });

  it("settles once: a confirmed settlement is gone", () => {
    const store = ended();
    confirmDelivery(aContext(store), next(store), { kind: "aborted" });
    expect(confirmDelivery(aContext(store), next(store), { kind: "unavailable" })).toBe("retry");
    expect(confirmDelivery(aContext(store), next(store), { kind: "settled" })).toBe("delivered");
    expect(next(store).kind).toBe("history");
  });
});

describe("an erasure before the usage was delivered", () => {
  it("still bills what was consumed", () => {
    const store = new MemoryConversationStore();
    const begun = beginTurn(aContext(store), aTurn(first));
    if (begun.kind !== "lease") throw new Error("no lease");
    const { turnId } = begun.lease;
    const outcome = anOutcome(begun.lease);
    completeTurn(aContext(store), { scope: aScope(), turnId, attempt: 1, segment: null, outcome });
    eraseConversation(aContext(store), aScope());
    confirmDelivery(aContext(store), next(store), { kind: "aborted" });
    confirmDelivery(aContext(store), next(store), { kind: "applied" });
    expect(next(store)).toMatchObject({
      command: { kind: "append", items: [], usage: [{ turnId }] },
    });
    expect(confirmDelivery(aContext(store), next(store), { kind: "erased" })).toBe("delivered");
    expect(store.head?.erasure).toBe("erased");
    expect(hasDelivery(aContext(store))).toBe(false);
  });
});
