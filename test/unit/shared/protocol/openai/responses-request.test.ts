import { describe, it } from "vitest";
import { parseResponsesRequest } from "#shared/protocol/openai/responses-request.ts";
import type { JsonObject, JsonValue } from "#shared/protocol/json.ts";

const tool = { type: "function", name: "f", parameters: { type: "object" }, strict: true };

function aResponse(fields: JsonObject = {}): JsonObject {
  return { model: "sim/small", input: "hello", ...fields };
}

function withItem(item: JsonValue): JsonObject {
  return aResponse({ input: [item] });
}

function read(body: JsonObject) {
  const result = parseResponsesRequest(body);
  if (!result.ok) throw new Error(result.error.message);
  return result.request;
}

describe("a responses request that is refused", () => {
  it.for([
    ["no model", { input: "x" }, "model"],
    ["no input", { model: "m" }, "input"],
    ["input null without history", aResponse({ input: null }), "input"],
    ["empty input", aResponse({ input: "" }), "input"],
    ["no items", aResponse({ input: [] }), "input"],
    ["input a number", aResponse({ input: 1 }), "input"],
    ["input an object", aResponse({ input: {} }), "input"],
    ["2,049 items", aResponse({ input: Array.from({ length: 2049 }, () => "x") }), "input"],
    ["item a string", withItem("x"), "input[0]"],
    ["item of an unknown type", withItem({ type: "thought" }), "input[0].type"],
    ["item type a number", withItem({ type: 1 }), "input[0].type"],
    ["a hosted call", withItem({ type: "web_search_call", id: "x" }), "input[0].type"],
    ["no role", withItem({ type: "message", content: "x" }), "input[0].role"],
    ["unknown role", withItem({ role: "tool", content: "x" }), "input[0].role"],
    ["no content", withItem({ role: "user" }), "input[0].content"],
    [
      "chat's part type",
      withItem({ role: "user", content: [{ type: "text", text: "x" }] }),
      "input[0].content[0].type",
    ],
    [
      "output text of a user",
      withItem({ role: "user", content: [{ type: "output_text", text: "x" }] }),
      "input[0].content[0].type",
    ],
    [
      "input text of an assistant",
      withItem({ role: "assistant", content: [{ type: "input_text", text: "x" }] }),
      "input[0].content[0].type",
    ],
    [
      "a file",
      withItem({ role: "user", content: [{ type: "input_file", file_id: "f" }] }),
      "input[0].content[0].type",
    ],
    [
      "an uploaded image",
      withItem({ role: "user", content: [{ type: "input_image", file_id: "f" }] }),
      "input[0].content[0].image_url",
    ],
    [
      "a call without call_id",
      withItem({ type: "function_call", name: "f", arguments: "{}" }),
      "input[0].call_id",
    ],
    [
      "a call with an object",
      withItem({ type: "function_call", call_id: "c", name: "f", arguments: {} }),
      "input[0].arguments",
    ],
    [
      "an output without call_id",
      withItem({ type: "function_call_output", output: "x" }),
      "input[0].call_id",
    ],
    [
      "an output of a number",
      withItem({ type: "function_call_output", call_id: "c", output: 1 }),
      "input[0].output",
    ],
    ["a reference without id", withItem({ type: "item_reference" }), "input[0].id"],
    ["a hosted tool", aResponse({ tools: [{ type: "web_search" }] }), "tools[0].type"],
    [
      "a hosted tool behind a function",
      aResponse({ tools: [tool, { type: "file_search", vector_store_ids: [] }] }),
      "tools[1].type",
    ],
    ["a custom tool", aResponse({ tools: [{ type: "custom", name: "f" }] }), "tools[0].type"],
    [
      "a tool in chat's form",
      aResponse({ tools: [{ type: "function", function: { name: "f" } }] }),
      "tools[0].name",
    ],
    ["tools a string", aResponse({ tools: "f" }), "tools"],
    ["129 tools", aResponse({ tools: Array.from({ length: 129 }, () => tool) }), "tools"],
    ["required without tools", aResponse({ tool_choice: "required" }), "tool_choice"],
    [
      "choice of an unknown function",
      aResponse({ tools: [tool], tool_choice: { type: "function", name: "g" } }),
      "tool_choice",
    ],
    [
      "a hosted choice",
      aResponse({ tools: [tool], tool_choice: { type: "file_search" } }),
      "tool_choice.type",
    ],
    ["background without store", aResponse({ background: true, store: false }), "background"],
    ["a stored prompt", aResponse({ prompt: { id: "pmpt_1" } }), "prompt"],
    [
      "both kinds of history",
      aResponse({ conversation: "conv_1", previous_response_id: "resp_1" }),
      "previous_response_id",
    ],
    ["conversation a number", aResponse({ conversation: 1 }), "conversation"],
    ["conversation without id", aResponse({ conversation: {} }), "conversation.id"],
    ["previous_response_id empty", aResponse({ previous_response_id: "" }), "previous_response_id"],
    ["instructions a list", aResponse({ instructions: [] }), "instructions"],
    ["truncation unknown", aResponse({ truncation: "middle" }), "truncation"],
    ["max_output_tokens zero", aResponse({ max_output_tokens: 0 }), "max_output_tokens"],
    ["max_output_tokens 2^63", aResponse({ max_output_tokens: 2 ** 63 }), "max_output_tokens"],
    ["temperature 3", aResponse({ temperature: 3 }), "temperature"],
    ["text.format unknown", aResponse({ text: { format: { type: "xml" } } }), "text.format.type"],
    [
      "a schema without name",
      aResponse({ text: { format: { type: "json_schema", schema: {} } } }),
      "text.format.name",
    ],
    ["include unknown", aResponse({ include: ["everything"] }), "include[0]"],
    ["stream_options without stream", aResponse({ stream_options: {} }), "stream_options"],
    ["metadata of numbers", aResponse({ metadata: { a: 1 } }), "metadata.a"],
  ] as const)("%s", ([, body, param], { expect }) => {
    expect(parseResponsesRequest(body)).toMatchObject({
      ok: false,
      error: { code: "invalid_request", param },
    });
  });
});

describe("a responses request that is read", () => {
  it("makes a user message of a string and has OpenAI's defaults", ({ expect }) => {
    expect(read(aResponse())).toEqual({
      model: "sim/small",
      stream: false,
      includeUsage: false,
      choices: 1,
      completionTokensMax: null,
      isStored: true,
      metadata: {},
      promptCacheKey: null,
      userKey: null,
      capabilities: ["chat"],
      engineBody: {},
      promptTokensEstimate: 7,
      affinityText: "hello\n",
      hasImages: false,
      items: [{ type: "message", role: "user", content: [{ type: "input_text", text: "hello" }] }],
      instructions: null,
      previousResponseId: null,
      conversationId: null,
      background: false,
      truncation: "disabled",
      echo: {
        background: false,
        instructions: null,
        max_output_tokens: null,
        max_tool_calls: null,
        metadata: {},
        parallel_tool_calls: true,
        previous_response_id: null,
        prompt_cache_key: null,
        reasoning: { effort: null, summary: null },
        safety_identifier: null,
        service_tier: "default",
        store: true,
        temperature: 1,
        text: { format: { type: "text" } },
        tool_choice: "auto",
        tools: [],
        top_logprobs: 0,
        top_p: 1,
        truncation: "disabled",
        user: null,
      },
    });
  });

  it("translates to a chat engine", ({ expect }) => {
    const request = read(
      aResponse({
        instructions: "be brief",
        tools: [tool],
        tool_choice: { type: "function", name: "f" },
        parallel_tool_calls: false,
        text: {
          format: { type: "json_schema", name: "s", schema: { type: "object" }, strict: true },
          verbosity: "low",
        },
        max_output_tokens: 50,
        reasoning: { effort: "low" },
        top_logprobs: 3,
        temperature: 0.5,
        top_k: 40,
        metadata: { a: "b" },
        messages: [{ role: "system", content: "smuggled" }],
        n: 5,
        cache_salt: "x",
      }),
    );
    expect(request.engineBody).toEqual({
      temperature: 0.5,
      top_k: 40,
      max_completion_tokens: 50,
      tools: [
        {
          type: "function",
          function: { name: "f", parameters: { type: "object" }, strict: true },
        },
      ],
      tool_choice: { type: "function", function: { name: "f" } },
      parallel_tool_calls: false,
      response_format: {
        type: "json_schema",
        json_schema: { name: "s", schema: { type: "object" }, strict: true },
      },
      verbosity: "low",
      reasoning_effort: "low",
      logprobs: true,
      top_logprobs: 3,
    });
    expect(request.capabilities).toEqual(["chat", "tools", "json"]);
    expect(request.affinityText).toBe("be brief\nhello\n");
    expect(request.completionTokensMax).toBe(50);
    expect(request.echo).toMatchObject({
      instructions: "be brief",
      tools: [{ ...tool, description: null }],
      tool_choice: { type: "function", name: "f" },
      metadata: { a: "b" },
      temperature: 0.5,
    });
  });

  it("brings items into one form, without ids", ({ expect }) => {
    const request = read(
      aResponse({
        input: [
          { role: "developer", content: "rules" },
          {
            id: "msg_theirs",
            type: "message",
            role: "assistant",
            status: "completed",
            content: [{ type: "output_text", text: "hi", annotations: [] }],
          },
          { id: "rs_1", type: "reasoning", summary: [], encrypted_content: null },
          { id: "fc_1", type: "function_call", call_id: "c", name: "f", arguments: "{}" },
          { type: "function_call_output", call_id: "c", output: "1" },
          { type: "item_reference", id: "msg_ours" },
          { id: "msg_short" },
        ],
      }),
    );
    expect(request.items).toEqual([
      { type: "message", role: "developer", content: [{ type: "input_text", text: "rules" }] },
      {
        type: "message",
        role: "assistant",
        status: "completed",
        content: [{ type: "output_text", text: "hi", annotations: [] }],
      },
      { type: "reasoning", summary: [] },
      { type: "function_call", call_id: "c", name: "f", arguments: "{}" },
      { type: "function_call_output", call_id: "c", output: "1" },
      { type: "item_reference", id: "msg_ours" },
      { type: "item_reference", id: "msg_short" },
    ]);
  });

  it("may have no input where a history stands before it", ({ expect }) => {
    const request = read({ model: "m", conversation: { id: "conv_1" } });
    expect(request).toMatchObject({ items: [], conversationId: "conv_1" });
    expect(request.echo["conversation"]).toEqual({ id: "conv_1" });
    expect(read({ model: "m", previous_response_id: "resp_1", store: false })).toMatchObject({
      previousResponseId: "resp_1",
      isStored: false,
    });
  });

  it("sees images", ({ expect }) => {
    const content = [{ type: "input_image", image_url: "https://a.example/x.png" }];
    const request = read(aResponse({ input: [{ role: "user", content }] }));
    expect(request.capabilities).toEqual(["chat", "vision"]);
    expect(request.promptTokensEstimate).toBe(770);
  });

  it("takes a background response, which is stored, and repeats that in the answer", ({
    expect,
  }) => {
    const request = read(aResponse({ background: true }));
    expect(request).toMatchObject({ background: true, isStored: true, echo: { background: true } });
    expect(request.engineBody).not.toHaveProperty("background");
  });

  it("takes null for absent", ({ expect }) => {
    const names = [
      "instructions",
      "previous_response_id",
      "conversation",
      "background",
      "truncation",
      "max_output_tokens",
      "tools",
      "tool_choice",
      "text",
      "reasoning",
      "include",
      "prompt",
      "metadata",
      "store",
      "stream",
      "temperature",
      "top_p",
      "user",
      "parallel_tool_calls",
    ];
    const nulls = Object.fromEntries(names.map((name) => [name, null]));
    expect(read(aResponse(nulls))).toEqual(read(aResponse()));
  });
});
