import { describe, expect, it } from "vitest";
import {
  addItems,
  createConversation,
  describeConversation,
  eraseConversation,
  listItems,
  updateMetadata,
} from "#shared/conversation/items.ts";
import { aContext, aScope, aTurn, anItem, cellA } from "#test/support/conversation-builders.ts";
import { MemoryConversationStore } from "#test/support/memory-conversation-store.ts";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import { defaultConversationPolicy } from "#shared/conversation/policy.ts";

const scope = aScope();
const claim = (key: string, body = "body") => ({ key, bodySha256: body });
const reused = { kind: "refused", error: { code: "idempotency_key_reused" } };

function aConversation(store = new MemoryConversationStore()): MemoryConversationStore {
  create(store);
  return store;
}

function create(store: MemoryConversationStore, body = "body", nowMs = 1_000) {
  return createConversation(aContext(store, nowMs), {
    scope,
    idempotency: claim("/v1/conversations;k", body),
    metadata: { first: "1" },
    items: [anItem("msg_1")],
    cells: [cellA],
  });
}

function ids(store: MemoryConversationStore): readonly string[] {
  const page = listItems(aContext(store), { scope, order: "asc", after: null, limit: 100 });
  return page.kind === "ok" ? page.value.items.map(({ id }) => id) : [];
}

describe("a conversation made under a key", () => {
  it("is made once, and its repeat is answered as the first call, whatever was updated since", () => {
    const store = new MemoryConversationStore();
    const made = create(store);
    updateMetadata(aContext(store), { scope, idempotency: null, metadata: { second: "2" } });
    expect(create(store, "body", 9_000)).toEqual(made);
    expect(ids(store)).toEqual(["msg_1"]);
    expect(describeConversation(aContext(store), scope)).toMatchObject({
      value: { metadata: { second: "2" } },
    });
  });

  it("is not another body's", () => {
    const store = aConversation();
    expect(create(store, "other body")).toMatchObject(reused);
    expect(ids(store)).toEqual(["msg_1"]);
  });

  it("keeps its key as long as it is there", () => {
    const store = aConversation();
    store.purge(defaultConversationPolicy.idempotencyKeptMs * 1_000, 0);
    expect(create(store, "other body")).toMatchObject(reused);
  });

  it("does not come back once it was erased", () => {
    const store = aConversation();
    eraseConversation(aContext(store), scope);
    expect(create(store)).toMatchObject({ error: { code: "not_found" } });
  });
});

describe("items added under a key", () => {
  function add(store: MemoryConversationStore, body = "body") {
    const items = [anItem("msg_2"), anItem("msg_3")];
    return addItems(aContext(store), { scope, idempotency: claim("items;k", body), items });
  }

  it("are added once, and the repeat is answered as the first call", () => {
    const store = aConversation();
    const added = add(store);
    expect(added.kind).toBe("ok");
    expect(add(store)).toEqual(added);
    expect(ids(store)).toEqual(["msg_1", "msg_2", "msg_3"]);
  });

  it("are answered again while a turn runs", () => {
    const store = aConversation();
    const added = add(store);
    expect(beginTurn(aContext(store), aTurn("aaaaaaaaaaaa")).kind).toBe("lease");
    expect(add(store)).toEqual(added);
  });

  it("are refused with another body, and nothing is added", () => {
    const store = aConversation();
    add(store);
    expect(add(store, "other body")).toMatchObject(reused);
    expect(ids(store)).toHaveLength(3);
  });

  it("leave their key free when they are refused", () => {
    const store = aConversation();
    const twice = [anItem("msg_1")];
    const idempotency = claim("items;k");
    expect(addItems(aContext(store), { scope, idempotency, items: twice }).kind).toBe("refused");
    expect(add(store, "other body").kind).toBe("ok");
  });

  it("are not added again by a late repeat: their ids are the key's, which stays with them", () => {
    const store = aConversation();
    const added = add(store);
    store.purge(1_000 + 2 * defaultConversationPolicy.idempotencyKeptMs, 0);
    expect(add(store)).toEqual(added);
    expect(ids(store)).toHaveLength(3);
  });
});

describe("metadata updated under a key", () => {
  const update = (store: MemoryConversationStore, metadata: Record<string, string>, body = "b") =>
    updateMetadata(aContext(store), { scope, idempotency: claim("update;k", body), metadata });

  it("is not put back by a repeat that comes late", () => {
    const store = aConversation();
    const first = update(store, { a: "1" });
    updateMetadata(aContext(store), { scope, idempotency: null, metadata: { b: "2" } });
    expect(update(store, { a: "1" })).toEqual(first);
    expect(describeConversation(aContext(store), scope)).toMatchObject({
      value: { metadata: { b: "2" } },
    });
  });

  it("is refused with another body", () => {
    const store = aConversation();
    update(store, { a: "1" });
    expect(update(store, { a: "3" }, "other")).toMatchObject(reused);
    store.purge(1_000 + defaultConversationPolicy.idempotencyKeptMs, 0);
    expect(update(store, { a: "3" }, "other").kind).toBe("ok");
  });
});
