import { describe, it } from "vitest";
import {
  parseConversationCreate,
  parseConversationUpdate,
  parseItemsCreate,
  parseListItemsQuery,
} from "#shared/protocol/openai/conversation-requests.ts";
import type { JsonObject } from "#shared/protocol/json.ts";

const item = { role: "user", content: "hi" };
const items = (count: number): JsonObject[] => Array.from({ length: count }, () => item);

describe("bodies of conversations", () => {
  it("may be empty when one is created", ({ expect }) => {
    const empty = { ok: true, request: { metadata: {}, items: [] } };
    expect(parseConversationCreate({})).toEqual(empty);
    expect(parseConversationCreate({ metadata: null, items: null })).toEqual(empty);
    expect(parseConversationCreate({ items: [] })).toEqual(empty);
  });

  it("hold metadata and up to 20 items", ({ expect }) => {
    expect(parseConversationCreate({ metadata: { a: "b" }, items: items(20) })).toMatchObject({
      ok: true,
      request: { metadata: { a: "b" } },
    });
    expect(parseItemsCreate({ items: items(20) })).toMatchObject({ ok: true });
    expect(parseConversationUpdate({ metadata: null })).toEqual({
      ok: true,
      request: { metadata: {} },
    });
  });

  it.for([
    ["21 items", parseConversationCreate, { items: items(21) }, "items"],
    ["items a string", parseConversationCreate, { items: "x" }, "items"],
    ["a bad item", parseConversationCreate, { items: [item, 1] }, "items[1]"],
    ["an unknown field", parseConversationCreate, { title: "x" }, "title"],
    ["metadata a list", parseConversationCreate, { metadata: [] }, "metadata"],
    ["no metadata", parseConversationUpdate, {}, "metadata"],
    ["metadata of objects", parseConversationUpdate, { metadata: { a: {} } }, "metadata.a"],
    ["no items", parseItemsCreate, {}, "items"],
    ["empty items", parseItemsCreate, { items: [] }, "items"],
    [
      "a reference",
      parseItemsCreate,
      { items: [{ type: "item_reference", id: "x" }] },
      "items[0].type",
    ],
    [
      "a file",
      parseItemsCreate,
      { items: [{ role: "user", content: [{ type: "input_file" }] }] },
      "items[0].content[0].type",
    ],
  ] as const)("are refused: %s", ([, parse, body, param], { expect }) => {
    expect(parse(body)).toMatchObject({ ok: false, error: { code: "invalid_request", param } });
  });
});

describe("the query of a list", () => {
  it("has defaults", ({ expect }) => {
    expect(parseListItemsQuery([])).toEqual({
      ok: true,
      request: { after: null, limit: 20, order: "desc" },
    });
  });

  it("reads cursor, order and limit, and ignores what to include", ({ expect }) => {
    const query = [
      ["after", "msg_1"],
      ["limit", "100"],
      ["order", "asc"],
      ["include[]", "a"],
      ["include[]", "b"],
    ] as const;
    expect(parseListItemsQuery(query)).toEqual({
      ok: true,
      request: { after: "msg_1", limit: 100, order: "asc" },
    });
  });

  it.for([
    ["limit", "0"],
    ["limit", "101"],
    ["limit", "-1"],
    ["limit", "1e2"],
    ["limit", "ten"],
    ["limit", ""],
    ["order", "up"],
    ["after", ""],
    ["after", "x".repeat(201)],
    ["page", "2"],
  ] as const)("refuses %s=%s", ([name, value], { expect }) => {
    expect(parseListItemsQuery([[name, value]])).toMatchObject({
      ok: false,
      error: { code: "invalid_request", param: name },
    });
  });

  it("refuses a parameter that is given twice", ({ expect }) => {
    const query = [
      ["limit", "1"],
      ["limit", "2"],
    ] as const;
    expect(parseListItemsQuery(query)).toMatchObject({ error: { param: "limit" } });
  });
});
