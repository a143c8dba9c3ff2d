import { describe, it } from "vitest";
import { parseChatRequest } from "#shared/protocol/openai/chat-request.ts";
import type { JsonObject, JsonValue } from "#shared/protocol/json.ts";

const user = { role: "user", content: "hello" };
const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };

function aChat(fields: JsonObject = {}): JsonObject {
  return { model: "sim/small", messages: [user], ...fields };
}

function withMessage(message: JsonValue): JsonObject {
  return aChat({ messages: [user, message] });
}

describe("a chat request that is refused", () => {
  const image = (url: JsonValue): JsonObject => ({
    role: "user",
    content: [{ type: "image_url", image_url: { url } }],
  });
  const cases: readonly (readonly [name: string, body: JsonObject, param: string])[] = [
    ["no model", { messages: [user] }, "model"],
    ["model null", aChat({ model: null }), "model"],
    ["empty model", aChat({ model: "" }), "model"],
    ["model a number", aChat({ model: 4 }), "model"],
    ["model of 257 characters", aChat({ model: "m".repeat(257) }), "model"],
    ["no messages", { model: "m" }, "messages"],
    ["empty messages", aChat({ messages: [] }), "messages"],
    ["messages null", aChat({ messages: null }), "messages"],
    ["messages a string", aChat({ messages: "hello" }), "messages"],
    ["messages an object", aChat({ messages: { 0: user } }), "messages"],
    ["2,049 messages", aChat({ messages: Array.from({ length: 2049 }, () => user) }), "messages"],
    ["message a string", aChat({ messages: ["hello"] }), "messages[0]"],
    ["message an array", aChat({ messages: [[]] }), "messages[0]"],
    ["no role", withMessage({ content: "x" }), "messages[1].role"],
    ["unknown role", withMessage({ role: "robot", content: "x" }), "messages[1].role"],
    ["role a number", withMessage({ role: 1, content: "x" }), "messages[1].role"],
    ["no content", withMessage({ role: "user" }), "messages[1].content"],
    ["content null", withMessage({ role: "user", content: null }), "messages[1].content"],
    ["content a number", withMessage({ role: "user", content: 1 }), "messages[1].content"],
    ["content an object", withMessage({ role: "user", content: {} }), "messages[1].content"],
    ["no parts", withMessage({ role: "user", content: [] }), "messages[1].content"],
    ["part a string", withMessage({ role: "user", content: ["x"] }), "messages[1].content[0]"],
    [
      "part without type",
      withMessage({ role: "user", content: [{ text: "x" }] }),
      "messages[1].content[0].type",
    ],
    [
      "part of an unknown type",
      withMessage({ role: "user", content: [{ type: "smell" }] }),
      "messages[1].content[0].type",
    ],
    [
      "text part without text",
      withMessage({ role: "user", content: [{ type: "text" }] }),
      "messages[1].content[0].text",
    ],
    [
      "audio part",
      withMessage({ role: "user", content: [{ type: "input_audio", input_audio: {} }] }),
      "messages[1].content[0].type",
    ],
    [
      "file part",
      withMessage({ role: "user", content: [{ type: "file", file: {} }] }),
      "messages[1].content[0].type",
    ],
    ["image without URL", withMessage(image(null)), "messages[1].content[0].image_url.url"],
    [
      "image of the file system",
      withMessage(image("file:///etc/passwd")),
      "messages[1].content[0].image_url.url",
    ],
    [
      "image in a system message",
      withMessage({ ...image("https://a.example/b.png"), role: "system" }),
      "messages[1].content[0].type",
    ],
    ["silent assistant", withMessage({ role: "assistant" }), "messages[1].content"],
    [
      "tool call without id",
      withMessage({ role: "assistant", tool_calls: [{ type: "function", function: {} }] }),
      "messages[1].tool_calls[0].id",
    ],
    [
      "tool call with object arguments",
      withMessage({
        role: "assistant",
        tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: {} } }],
      }),
      "messages[1].tool_calls[0].function.arguments",
    ],
    [
      "tool result without id",
      withMessage({ role: "tool", content: "x" }),
      "messages[1].tool_call_id",
    ],
    ["stream a string", aChat({ stream: "yes" }), "stream"],
    ["stream_options without stream", aChat({ stream_options: {} }), "stream_options"],
    [
      "include_usage a number",
      aChat({ stream: true, stream_options: { include_usage: 1 } }),
      "stream_options.include_usage",
    ],
    ["n zero", aChat({ n: 0 }), "n"],
    ["n 17", aChat({ n: 17 }), "n"],
    ["n 1.5", aChat({ n: 1.5 }), "n"],
    ["n -0", aChat({ n: -0 }), "n"],
    ["max_tokens zero", aChat({ max_tokens: 0 }), "max_tokens"],
    ["max_tokens 2^63", aChat({ max_tokens: 2 ** 63 }), "max_tokens"],
    [
      "max_completion_tokens 2^53",
      aChat({ max_completion_tokens: 2 ** 53 }),
      "max_completion_tokens",
    ],
    ["max_tokens a string", aChat({ max_tokens: "10" }), "max_tokens"],
    ["two different maxima", aChat({ max_tokens: 1, max_completion_tokens: 2 }), "max_tokens"],
    ["temperature 2.1", aChat({ temperature: 2.1 }), "temperature"],
    ["temperature -0", aChat({ temperature: -0 }), "temperature"],
    ["temperature below zero", aChat({ temperature: -0.1 }), "temperature"],
    ["top_p 1.01", aChat({ top_p: 1.01 }), "top_p"],
    ["presence_penalty 3", aChat({ presence_penalty: 3 }), "presence_penalty"],
    ["frequency_penalty -2.5", aChat({ frequency_penalty: -2.5 }), "frequency_penalty"],
    ["seed 2^63", aChat({ seed: 2 ** 63 }), "seed"],
    ["seed 1.5", aChat({ seed: 1.5 }), "seed"],
    ["five stops", aChat({ stop: ["a", "b", "c", "d", "e"] }), "stop"],
    ["stop a number", aChat({ stop: 1 }), "stop"],
    ["stop of numbers", aChat({ stop: [1] }), "stop[0]"],
    ["an empty stop", aChat({ stop: "" }), "stop"],
    ["logit_bias 101", aChat({ logit_bias: { 1: 101 } }), "logit_bias.1"],
    ["logit_bias by word", aChat({ logit_bias: { word: 1 } }), "logit_bias.word"],
    ["top_logprobs 21", aChat({ logprobs: true, top_logprobs: 21 }), "top_logprobs"],
    ["top_logprobs without logprobs", aChat({ top_logprobs: 2 }), "top_logprobs"],
    ["logprobs a number", aChat({ logprobs: 3 }), "logprobs"],
    ["tools an object", aChat({ tools: {} }), "tools"],
    ["129 tools", aChat({ tools: Array.from({ length: 129 }, () => tool) }), "tools"],
    ["an unknown tool", aChat({ tools: [{ type: "web_search" }] }), "tools[0].type"],
    [
      "a tool without name",
      aChat({ tools: [{ type: "function", function: {} }] }),
      "tools[0].function.name",
    ],
    [
      "a tool with a bad name",
      aChat({ tools: [{ type: "function", function: { name: "a b" } }] }),
      "tools[0].function.name",
    ],
    ["tool_choice without tools", aChat({ tool_choice: "auto" }), "tool_choice"],
    ["tool_choice a number", aChat({ tools: [tool], tool_choice: 1 }), "tool_choice"],
    ["tool_choice unknown", aChat({ tools: [tool], tool_choice: "always" }), "tool_choice"],
    [
      "tool_choice of a tool that is not there",
      aChat({ tools: [tool], tool_choice: { type: "function", function: { name: "g" } } }),
      "tool_choice.function.name",
    ],
    ["response_format a string", aChat({ response_format: "json" }), "response_format"],
    [
      "response_format unknown",
      aChat({ response_format: { type: "xml" } }),
      "response_format.type",
    ],
    [
      "json_schema without schema",
      aChat({ response_format: { type: "json_schema" } }),
      "response_format.json_schema",
    ],
    ["audio output", aChat({ modalities: ["text", "audio"] }), "modalities[1]"],
    ["audio settings", aChat({ audio: { voice: "alloy", format: "wav" } }), "audio"],
    ["hosted search", aChat({ web_search_options: {} }), "web_search_options"],
    ["metadata a string", aChat({ metadata: "x" }), "metadata"],
    ["metadata of numbers", aChat({ metadata: { a: 1 } }), "metadata.a"],
    ["metadata too long", aChat({ metadata: { a: "x".repeat(513) } }), "metadata.a"],
    ["metadata with a long key", aChat({ metadata: { ["k".repeat(65)]: "x" } }), "metadata"],
    [
      "17 pairs of metadata",
      aChat({ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, ""])) }),
      "metadata",
    ],
    ["user a number", aChat({ user: 7 }), "user"],
    ["user of 513 characters", aChat({ user: "u".repeat(513) }), "user"],
    ["store a string", aChat({ store: "true" }), "store"],
  ];

  it.for(cases)("%s", ([, body, param], { expect }) => {
    const result = parseChatRequest(body);
    expect(result).toMatchObject({ ok: false, error: { code: "invalid_request", param } });
    if (!result.ok) expect(result.error.message).toContain(param);
  });

  it("says what it got by type and what it wants, and repeats no content", ({ expect }) => {
    const result = parseChatRequest(withMessage({ role: "user", content: 42 }));
    expect(result).toMatchObject({
      error: {
        message:
          "Invalid type for 'messages[1].content': expected a string or an array, but got an integer instead.",
      },
    });
    const secret = parseChatRequest(withMessage({ role: "CANARY", content: "CANARY" }));
    expect(JSON.stringify(secret)).not.toContain("CANARY");
  });

  it("says that a required parameter is missing", ({ expect }) => {
    expect(parseChatRequest({ messages: [user] })).toMatchObject({
      error: { message: "Missing required parameter: 'model'." },
    });
  });
});

describe("a chat request that is read", () => {
  function read(body: JsonObject) {
    const result = parseChatRequest(body);
    if (!result.ok) throw new Error(result.error.message);
    return result.request;
  }

  it("has OpenAI's defaults", ({ expect }) => {
    expect(read(aChat())).toEqual({
      model: "sim/small",
      stream: false,
      includeUsage: false,
      choices: 1,
      completionTokensMax: null,
      isStored: false,
      metadata: {},
      promptCacheKey: null,
      userKey: null,
      capabilities: ["chat"],
      engineBody: {},
      promptTokensEstimate: 7,
      affinityText: "hello\n",
      hasImages: false,
      messages: [user],
    });
  });

  it("takes null for absent everywhere", ({ expect }) => {
    const names = [
      "stream",
      "stream_options",
      "n",
      "max_tokens",
      "max_completion_tokens",
      "stop",
      "seed",
      "temperature",
      "top_p",
      "logprobs",
      "top_logprobs",
      "tools",
      "tool_choice",
      "metadata",
      "response_format",
      "user",
      "store",
      "audio",
      "web_search_options",
      "unknown_field",
    ];
    const nulls = Object.fromEntries(names.map((name) => [name, null]));
    expect(read(aChat(nulls))).toEqual(read(aChat()));
  });

  it("passes unknown fields and keeps the gateway's own from the engine", ({ expect }) => {
    const owned = {
      stream: true,
      stream_options: { include_usage: true },
      store: true,
      metadata: { a: "b" },
      user: "u",
      safety_identifier: "s",
      prompt_cache_key: "p",
      service_tier: "auto",
      cache_salt: "x",
      priority: -5,
      request_id: "r",
      session_id: "s",
      kv_transfer_params: {},
      return_token_ids: true,
      return_tokens_as_token_ids: true,
      continue_final_message: true,
      add_generation_prompt: false,
    };
    const request = read(aChat({ ...owned, top_k: 5, future: { deep: [1] }, temperature: 0 }));
    expect(request.engineBody).toEqual({ top_k: 5, future: { deep: [1] }, temperature: 0 });
    expect(request).toMatchObject({
      stream: true,
      includeUsage: true,
      isStored: true,
      metadata: { a: "b" },
      userKey: "s",
      promptCacheKey: "p",
    });
  });

  it("lets max_completion_tokens win and max_tokens stand alone", ({ expect }) => {
    const both = read(aChat({ max_tokens: 7, max_completion_tokens: 7 }));
    expect(both.engineBody).toEqual({ max_completion_tokens: 7 });
    expect(both.completionTokensMax).toBe(7);
    expect(read(aChat({ max_tokens: 9 }))).toMatchObject({
      engineBody: { max_tokens: 9 },
      completionTokensMax: 9,
    });
  });

  it("derives what the model must be able to do", ({ expect }) => {
    const picture = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
    const request = read(
      aChat({
        messages: [{ role: "user", content: [{ type: "text", text: "what?" }, picture] }],
        tools: [tool],
        response_format: { type: "json_object" },
      }),
    );
    expect(request.capabilities).toEqual(["chat", "tools", "json", "vision"]);
    expect(request.hasImages).toBe(true);
    expect(request.promptTokensEstimate).toBeGreaterThan(765);
  });

  it("keys affinity by what stands before the second message of the user", ({ expect }) => {
    const system = { role: "system", content: "be brief" };
    const answer = { role: "assistant", content: "hi" };
    const first = read(aChat({ messages: [system, user] })).affinityText;
    const second = read(aChat({ messages: [system, user, answer, user] })).affinityText;
    expect(second).toBe(first);
    expect(first).toBe("be brief\nhello\n");
    const long = read(aChat({ messages: [{ role: "user", content: "x".repeat(5000) }] }));
    expect(long.affinityText).toHaveLength(1024);
  });

  it("accepts each limit at its maximum", ({ expect }) => {
    const request = read(
      aChat({
        messages: Array.from({ length: 2048 }, () => user),
        tools: Array.from({ length: 128 }, () => tool),
        n: 16,
        stop: ["a", "b", "c", "d"],
        temperature: 2,
        max_tokens: Number.MAX_SAFE_INTEGER,
        metadata: Object.fromEntries(
          Array.from({ length: 16 }, (_, i) => [`${i}`.padEnd(64, "k"), "v".repeat(512)]),
        ),
      }),
    );
    expect(request.choices).toBe(16);
    expect(request.messages).toHaveLength(2048);
  });

  it("accepts a replayed answer with its nulls and a tool's result", ({ expect }) => {
    const call = { id: "c1", type: "function", function: { name: "f", arguments: "{}" } };
    const answer = {
      role: "assistant",
      content: null,
      refusal: null,
      audio: null,
      function_call: null,
      annotations: [],
      tool_calls: [call],
    };
    const result = { role: "tool", tool_call_id: "c1", content: "1" };
    const request = read(aChat({ messages: [user, answer, result], tools: [tool] }));
    expect(request.messages).toHaveLength(3);
  });
});
