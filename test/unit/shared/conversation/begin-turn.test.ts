import { describe, it } from "vitest";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import { createConversation } from "#shared/conversation/items.ts";
import { startMove } from "#shared/conversation/move.ts";
import type { ItemRecord } from "#shared/protocol/internal/turn-outcome.ts";
import {
  aContext,
  aScope,
  aTurn,
  anItem,
  cellA,
  cellB,
} from "#test/support/conversation-builders.ts";
import { MemoryConversationStore } from "#test/support/memory-conversation-store.ts";
import { aDestination, regions } from "./a-moving-world.ts";

function aConversation(items: readonly ItemRecord[]): MemoryConversationStore {
  const store = new MemoryConversationStore();
  const cells = [cellA, cellB];
  const scope = aScope();
  createConversation(aContext(store), { scope, idempotency: null, metadata: {}, items, cells });
  return store;
}

const firstTurn = aTurn("aaaaaaaaaaaa", { cells: [cellB, cellA] });

describe("the first turn of a conversation that was created before", () => {
  it("takes the history to the region where it runs, while there is none", ({ expect }) => {
    const store = aConversation([]);
    expect(store.head?.historyCell).toBe(cellA);
    expect(beginTurn(aContext(store), firstTurn)).toMatchObject({ lease: { cell: cellB } });
    expect(store.head?.historyCell).toBe(cellB);
  });

  it("leaves the history where its first items may be already", ({ expect }) => {
    const store = aConversation([anItem("msg_1")]);
    beginTurn(aContext(store), firstTurn);
    expect(store.head?.historyCell).toBe(cellA);
  });

  it("leaves it to a move that is under way", ({ expect }) => {
    const store = aConversation([]);
    const destinations = [aDestination()];
    startMove(aContext(store), { scope: aScope(), moveId: "m", destinations, regions });
    beginTurn(aContext(store), firstTurn);
    expect(store.head?.historyCell).toBe(cellA);
  });
});

describe("a turn whose deadline has passed", () => {
  it("is refused and leaves nothing behind", ({ expect }) => {
    const store = aConversation([]);
    const before = store.head;
    const context = aContext(store);
    const late = beginTurn(context, { ...firstTurn, deadlineMs: context.nowMs });
    expect(late).toMatchObject({ kind: "refused", error: { code: "deadline_exceeded" } });
    expect(store.head).toEqual(before);
    const soon = beginTurn(context, { ...firstTurn, deadlineMs: context.nowMs + 1 });
    expect(soon.kind).toBe("lease");
  });

  it("that was begun before is the same turn, however late it is asked for", ({ expect }) => {
    const store = aConversation([]);
    const context = aContext(store);
    beginTurn(context, firstTurn);
    const again = beginTurn(context, { ...firstTurn, deadlineMs: 0 });
    expect(again.kind).toBe("lease");
  });
});
