import fc from "fast-check";
import { describe, it } from "vitest";
import { parseChatRequest } from "#shared/protocol/openai/chat-request.ts";
import {
  itemsToMessages,
  messagesToItems,
  repeatedHistoryLength,
} from "#shared/protocol/openai/items.ts";
import { truncateItems } from "#shared/protocol/openai/truncate-items.ts";
import type { JsonObject, JsonValue } from "#shared/protocol/json.ts";

const text = fc.string({ maxLength: 12 });
const id = fc.string({ minLength: 1, maxLength: 8 });
/** Few, so that calls meet their outputs. */
const callId = fc.constantFrom("a", "b", "c");
const textPart = text.map((value): JsonObject => ({ type: "text", text: value }));
const imagePart = fc.record({
  type: fc.constant("image_url"),
  image_url: fc.oneof(
    fc.constant({ url: "https://a.example/b.png" }),
    fc.constant({ url: "data:image/png;base64,AAAA", detail: "high" }),
  ),
});
const hint = fc.record({ type: fc.constant("text"), text, cache_control: fc.constant({ ttl: 1 }) });
const someTexts = fc.array(textPart, { minLength: 2, maxLength: 3 });
const textContent = fc.oneof(text, someTexts);
const userContent = fc.oneof(
  text,
  fc.array(fc.oneof(imagePart, hint), { minLength: 1, maxLength: 3 }),
  fc.tuple(textPart, imagePart).map((parts): JsonValue => parts),
);
const toolCall = fc.oneof(
  fc.record({
    id: callId,
    type: fc.constant("function"),
    function: fc.record({ name: id, arguments: text }),
  }),
  fc.record({
    id: callId,
    type: fc.constant("custom"),
    custom: fc.record({ name: id, input: text }),
  }),
);
const toolCalls = fc.array(toolCall, { minLength: 1, maxLength: 3 });
const name = fc.option(id, { nil: undefined });

/** Messages in the one form that items give back. */
const message = fc
  .oneof(
    fc.record({ role: fc.constant("system"), content: textContent, name }),
    fc.record({ role: fc.constant("user"), content: userContent, name }),
    fc.record({ role: fc.constant("assistant"), content: textContent, name }),
    fc.record({ role: fc.constant("assistant"), content: fc.constant(null), refusal: text }),
    fc.record({ role: fc.constant("assistant"), content: textContent, refusal: text }),
    fc.record({
      role: fc.constant("assistant"),
      content: fc.oneof(fc.constant(null), textContent),
      name,
      tool_calls: toolCalls,
    }),
    fc.record({
      role: fc.constant("assistant"),
      content: fc.constant(null),
      function_call: fc.record({ name: id, arguments: text }),
    }),
    fc.record({ role: fc.constant("tool"), content: textContent, tool_call_id: callId }),
    fc.record({ role: fc.constant("function"), content: text, name: id }),
    fc.record({
      role: fc.constant("user"),
      content: text,
      future_field: fc.constant({ deep: [1] }),
    }),
  )
  .map((fields) => JSON.parse(JSON.stringify(fields)) as JsonObject);
const messages = fc.array(message, { maxLength: 8 });

/** The same messages as clients write them too. */
const written = messages.map((list) =>
  list.map((each): JsonObject => {
    const content = each["content"];
    const isSystem = each["role"] === "system";
    return {
      ...each,
      ...(isSystem ? { role: "developer" } : {}),
      ...(typeof content === "string" && each["role"] !== "function"
        ? { content: [{ type: "text", text: content }] }
        : {}),
      ...(each["role"] === "assistant" && each["refusal"] === undefined ? { refusal: null } : {}),
    };
  }),
);

const there = (list: readonly JsonObject[]) => messagesToItems(list, (type) => `${type}_1`);

describe("messages and items", () => {
  it("are what chat completions allow", ({ expect }) => {
    fc.assert(
      fc.property(fc.oneof(messages, written), (list) => {
        if (list.length === 0) return;
        expect(parseChatRequest({ model: "m", messages: list })).toMatchObject({ ok: true });
      }),
    );
  });

  it("come back identical", ({ expect }) => {
    fc.assert(
      fc.property(messages, (list) => {
        expect(itemsToMessages(there(list), null)).toEqual(list);
      }),
      { numRuns: 500 },
    );
  });

  it("come back in one form, however they were written, one for one", ({ expect }) => {
    fc.assert(
      fc.property(written, (list) => {
        const once = itemsToMessages(there(list), null);
        expect(once).toHaveLength(list.length);
        expect(itemsToMessages(there(once), null)).toEqual(once);
      }),
    );
  });

  it("repeat a history that they begin with", ({ expect }) => {
    fc.assert(
      fc.property(written, messages, (history, more) => {
        expect(repeatedHistoryLength(there(history), [...history, ...more])).toBe(history.length);
      }),
    );
  });
});

describe("truncation", () => {
  it("keeps an end of the history, within the limit, with every call beside its output", ({
    expect,
  }) => {
    fc.assert(
      fc.property(messages, fc.integer({ min: 1, max: 4000 }), (list, contextTokensMax) => {
        const items = there(list);
        const fit = { contextTokensMax, completionTokensMax: 1, param: "input" } as const;
        const result = truncateItems(items, "auto", 0, fit);
        if (!result.ok) {
          expect(result.error.code).toBe("context_length_exceeded");
          return;
        }
        expect(result.promptTokensEstimate).toBeLessThanOrEqual(contextTokensMax - 1);
        expect(result.items.length + result.droppedCount).toBe(items.length);
        if (items.length > 0) expect(result.items.at(-1)).toBe(items.at(-1));
        const callsOf = (records: typeof items): unknown[] =>
          records.map(({ json }) => (JSON.parse(json) as JsonObject)["call_id"]);
        const kept = new Set(callsOf([...result.items]).filter((each) => each !== ""));
        const dropped = callsOf(items.filter((item) => !result.items.includes(item)));
        expect(dropped.some((each) => each !== undefined && kept.has(each))).toBe(false);
      }),
    );
  });
});
