import { describe, it } from "vitest";
import {
  itemsToMessages,
  messagesToItems,
  newItemsToRecords,
  repeatedHistoryLength,
  resolveItemReferences,
  toEngineMessages,
} from "#shared/protocol/openai/items.ts";
import type { MintItemId } from "#shared/protocol/openai/items.ts";
import type { ItemRecord } from "#shared/protocol/internal/turn-outcome.ts";
import type { JsonObject } from "#shared/protocol/json.ts";

function counter(): MintItemId {
  let count = 0;
  return (type) => {
    count += 1;
    return `${type}_${count}`;
  };
}

function record(item: JsonObject & { readonly type: string }): ItemRecord {
  return { id: "x", type: item.type, json: JSON.stringify(item) };
}

function stored(records: readonly ItemRecord[]): unknown[] {
  return records.map(({ json }) => JSON.parse(json));
}

const call = (id: string): JsonObject => ({
  id,
  type: "function",
  function: { name: "f", arguments: '{"a":1}' },
});

describe("chat messages as items", () => {
  it("have the form that OpenAI stores", ({ expect }) => {
    const messages = [
      { role: "developer", content: "rules" },
      {
        role: "user",
        name: "Ann",
        content: [
          { type: "text", text: "what?" },
          { type: "image_url", image_url: { url: "https://a.example/b.png" } },
        ],
      },
      { role: "assistant", content: "look", tool_calls: [call("c1"), call("c2")] },
      { role: "tool", tool_call_id: "c1", content: "1" },
      { role: "tool", tool_call_id: "c2", content: [{ type: "text", text: "2" }] },
      { role: "assistant", content: null, refusal: "no" },
    ];
    const records = messagesToItems(messages, counter());
    expect(records.map(({ id, type }) => [id, type])).toEqual([
      ["message_1", "message"],
      ["message_2", "message"],
      ["message_3", "message"],
      ["function_call_4", "function_call"],
      ["function_call_5", "function_call"],
      ["function_call_output_6", "function_call_output"],
      ["function_call_output_7", "function_call_output"],
      ["message_8", "message"],
    ]);
    expect(stored(records).slice(0, 4)).toEqual([
      {
        id: "message_1",
        type: "message",
        status: "completed",
        role: "developer",
        content: [{ type: "input_text", text: "rules" }],
      },
      {
        id: "message_2",
        type: "message",
        status: "completed",
        role: "user",
        name: "Ann",
        content: [
          { type: "input_text", text: "what?" },
          { type: "input_image", image_url: "https://a.example/b.png", detail: "auto" },
        ],
      },
      {
        id: "message_3",
        type: "message",
        status: "completed",
        role: "assistant",
        content: [{ type: "output_text", annotations: [], text: "look" }],
      },
      {
        id: "function_call_4",
        type: "function_call",
        status: "completed",
        call_id: "c1",
        name: "f",
        arguments: '{"a":1}',
      },
    ]);
    expect(itemsToMessages(records, null)).toEqual([
      { role: "system", content: "rules" },
      ...messages.slice(1, 4),
      { role: "tool", tool_call_id: "c2", content: "2" },
      { role: "assistant", content: null, refusal: "no" },
    ]);
  });

  it("keep two assistant messages apart whose calls would join", ({ expect }) => {
    const messages = [
      { role: "assistant", content: "a" },
      { role: "assistant", content: null, tool_calls: [call("c1")] },
      { role: "assistant", content: null, tool_calls: [call("c2")] },
      { role: "assistant", content: "", tool_calls: [call("c3")] },
    ];
    expect(itemsToMessages(messagesToItems(messages, counter()), null)).toEqual(messages);
  });

  it("keep the older function calls and custom tools", ({ expect }) => {
    const messages = [
      { role: "assistant", content: null, function_call: { name: "f", arguments: "{}" } },
      { role: "function", name: "f", content: "1" },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "c", type: "custom", custom: { name: "g", input: "x" } }],
      },
    ];
    expect(itemsToMessages(messagesToItems(messages, counter()), null)).toEqual(messages);
  });
});

describe("items as messages", () => {
  it("begin with the instructions", ({ expect }) => {
    expect(itemsToMessages([], "be brief")).toEqual([{ role: "system", content: "be brief" }]);
  });

  it("join a message and the calls that follow it", ({ expect }) => {
    const items = [
      record({ type: "message", role: "user", content: [{ type: "input_text", text: "q" }] }),
      record({ type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "hm" }] }),
      record({ type: "function_call", call_id: "c1", name: "f", arguments: "{}" }),
      record({ type: "function_call", call_id: "c2", name: "f", arguments: "{}" }),
      record({ type: "function_call_output", call_id: "c1", output: "1" }),
      record({ type: "function_call_output", call_id: "c2", output: "2" }),
    ];
    const calls = ["c1", "c2"].map((id) => ({
      id,
      type: "function",
      function: { name: "f", arguments: "{}" },
    }));
    expect(itemsToMessages(items, null)).toEqual([
      { role: "user", content: "q" },
      { role: "assistant", content: null, reasoning_content: "hm", tool_calls: calls },
      { role: "tool", content: "1", tool_call_id: "c1" },
      { role: "tool", content: "2", tool_call_id: "c2" },
    ]);
  });

  it("leave out reasoning from before the last user message", ({ expect }) => {
    const items = [
      record({ type: "reasoning", content: [{ type: "reasoning_text", text: "old" }] }),
      record({ type: "message", role: "assistant", content: [] }),
      record({ type: "message", role: "user", content: [] }),
    ];
    expect(itemsToMessages(items, null)).toEqual([
      { role: "assistant", content: "" },
      { role: "user", content: "" },
    ]);
  });

  it("do not let an item smuggle what only a message may carry", ({ expect }) => {
    const item = {
      type: "message",
      role: "user",
      content: [{ type: "input_text", text: "q" }],
      tool_calls: [call("c")],
      function_call: {},
    };
    expect(itemsToMessages([record(item)], null)).toEqual([{ role: "user", content: "q" }]);
  });

  it("are a bug when a record is no JSON object", ({ expect }) => {
    expect(() => itemsToMessages([{ id: "x", type: "message", json: "{" }], null)).toThrow(
      "a stored item is a JSON object",
    );
  });
});

describe("new items", () => {
  it("get ids, statuses and the defaults of the Conversations API", ({ expect }) => {
    const records = newItemsToRecords(
      [
        { type: "message", role: "assistant", content: [{ type: "output_text", text: "hi" }] },
        {
          type: "message",
          role: "user",
          content: [{ type: "input_image", image_url: "https://a.example/b.png" }],
        },
        { type: "function_call_output", call_id: "c", output: "1" },
        { type: "reasoning", summary: [], status: "completed" },
      ],
      counter(),
    );
    expect(stored(records)).toEqual([
      {
        id: "message_1",
        type: "message",
        status: "completed",
        role: "assistant",
        content: [{ type: "output_text", text: "hi", annotations: [] }],
      },
      {
        id: "message_2",
        type: "message",
        status: "completed",
        role: "user",
        content: [{ type: "input_image", image_url: "https://a.example/b.png", detail: "auto" }],
      },
      {
        id: "function_call_output_3",
        type: "function_call_output",
        status: "completed",
        call_id: "c",
        output: "1",
      },
      { id: "reasoning_4", type: "reasoning", summary: [] },
    ]);
  });

  it("replace references, and refuse one that is not found", ({ expect }) => {
    const [saved] = messagesToItems([{ role: "assistant", content: "hi" }], counter());
    if (saved === undefined) throw new Error("one item");
    const input = [{ type: "item_reference", id: saved.id } as const];
    expect(resolveItemReferences(input, new Map([[saved.id, saved]]))).toMatchObject({
      ok: true,
      request: [{ type: "message", role: "assistant" }],
    });
    expect(resolveItemReferences(input, new Map())).toMatchObject({
      ok: false,
      error: { code: "not_found", param: "input[0].id" },
    });
  });
});

describe("a chat that repeats the stored history", () => {
  const first = [
    { role: "developer", content: "rules" },
    { role: "user", content: "q" },
  ];
  const answer = { role: "assistant", content: "a" };
  const history = messagesToItems([...first, answer], counter());
  const next = { role: "user", content: "more" };

  it("is recognized, however it is written down", ({ expect }) => {
    expect(repeatedHistoryLength(history, [...first, answer, next])).toBe(3);
    const written = [
      { role: "system", content: [{ type: "text", text: "rules" }] },
      { role: "user", content: "q", cache_control: { type: "ephemeral" } },
      { role: "assistant", content: "a", refusal: null, annotations: [] },
    ];
    expect(repeatedHistoryLength(history, written)).toBe(3);
  });

  it("is compared with calls and without reasoning", ({ expect }) => {
    const items = [
      record({ type: "message", role: "user", content: [{ type: "input_text", text: "q" }] }),
      record({ type: "reasoning", content: [{ type: "reasoning_text", text: "hm" }] }),
      record({ type: "function_call", call_id: "c1", name: "f", arguments: '{"a":1}' }),
    ];
    const sent = [
      { role: "user", content: "q" },
      { role: "assistant", content: "", tool_calls: [call("c1")] },
    ];
    expect(repeatedHistoryLength(items, sent)).toBe(2);
    expect(repeatedHistoryLength(items, [sent[0] ?? {}, { role: "assistant", content: "" }])).toBe(
      0,
    );
  });

  it.for([
    ["only a part of it", first],
    ["only what is new", [next]],
    ["another text", [...first, { role: "assistant", content: "b" }, next]],
    ["another role", [...first, { role: "user", content: "a" }, next]],
    ["another name", [...first, { ...answer, name: "Bob" }, next]],
    ["nothing", []],
  ] as const)("is not %s", ([, messages], { expect }) => {
    expect(repeatedHistoryLength(history, messages)).toBe(0);
  });

  it("repeats nothing of an empty history", ({ expect }) => {
    expect(repeatedHistoryLength([], [next])).toBe(0);
  });
});

describe("messages for an engine", () => {
  it("have no developer role, no nulls but of content, and no empty calls", ({ expect }) => {
    expect(
      toEngineMessages([
        { role: "developer", content: "x", name: null },
        { role: "assistant", content: null, audio: null, tool_calls: [call("c")] },
        { role: "assistant", content: "y", tool_calls: [] },
      ]),
    ).toEqual([
      { role: "system", content: "x" },
      { role: "assistant", content: null, tool_calls: [call("c")] },
      { role: "assistant", content: "y" },
    ]);
  });
});
