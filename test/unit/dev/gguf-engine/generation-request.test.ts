import { describe, expect, test } from "vitest";
import { readChat, readCompletion } from "#dev/gguf-engine/generation-request.ts";
import type { ChatItem, LlamaModel } from "#dev/gguf-engine/llama-library.ts";
import type { Runner } from "#dev/gguf-engine/runner.ts";

const begin = 1;
const end = 2;

/** A model whose tokens are characters, and whose chats are `user>text|model>text`. */
const model: LlamaModel = {
  trainContextSize: 100,
  tokenizer: null,
  tokens: { bos: begin, eos: end, eot: null, shouldPrependBosToken: true },
  tokenize: (text) => Array.from(text, (character) => character.charCodeAt(0)),
  detokenize: (tokens) => String.fromCharCode(...tokens),
  isEogToken: (token) => token === end,
  createContext: () => Promise.reject(new Error("not here")),
};

function textOf(item: ChatItem): string {
  return `${item.type}>${item.type === "model" ? item.response.join("") : item.text}`;
}

const runner: Runner = {
  model,
  wrapper: {
    generateContextState: ({ chatHistory }) => ({
      contextText: { tokenize: () => model.tokenize(chatHistory.map(textOf).join("|"), true) },
    }),
  },
  contextTokensMax: 60,
  generate: () => {
    throw new Error("not here");
  },
  counters: () => {
    throw new Error("not here");
  },
};

const user = { role: "user", content: "a" };
const assistant = { role: "assistant", content: "b" };

function promptOf(body: object): string {
  const { run } = readChat(runner, "m", { model: "m", ...body });
  return run.prompt
    .map((token) => (token === begin ? "<" : token === end ? "/" : String.fromCharCode(token)))
    .join("");
}

describe("a chat's prompt", () => {
  const open = { add_generation_prompt: false };
  test.each([
    [{ messages: [user] }, "<user>a|model>"],
    [{ messages: [user, assistant] }, "<user>a|model>b|user>|model>"],
    [{ messages: [user, assistant], ...open, continue_final_message: true }, "<user>a|model>b"],
    [{ messages: [user, assistant], ...open }, "<user>a|model>b/"],
    [{ messages: [{ role: "developer", content: "s" }, user] }, "<system>s|user>a|model>"],
    [{ messages: [{ role: "user", content: [{ type: "text", text: "x" }] }] }, "<user>x|model>"],
  ])("of %j is %s", (body, prompt) => {
    expect(promptOf(body)).toBe(prompt);
  });

  test.each([
    [{ messages: [user], ...open }],
    [{ messages: [user], ...open, continue_final_message: true }],
    [{ messages: [user, assistant], continue_final_message: true }],
    [{ messages: [{ role: "tool", content: "x", tool_call_id: "1" }] }],
    [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: "x" }] }] }],
    [{ messages: [] }],
    [{ messages: [{ role: "user", content: "x".repeat(60) }] }],
  ])("of %j is refused", (body) => {
    expect(() => promptOf(body)).toThrow(expect.objectContaining({ status: 400 }));
  });
});

describe("a completion's prompt", () => {
  const of = (prompt: unknown) => readCompletion(runner, "m", { prompt }).run.prompt;

  test("begins with the model's first token, but for ids, which are taken as they are", () => {
    expect(of("A")).toEqual([begin, 65]);
    expect(of(["A"])).toEqual([begin, 65]);
    expect(of([65, 66])).toEqual([65, 66]);
    expect(of([[65, 66]])).toEqual([65, 66]);
  });

  test("is one", () => {
    for (const several of [
      ["A", "B"],
      [[65], [66]],
    ])
      expect(() => of(several)).toThrow(expect.objectContaining({ status: 400 }));
  });
});

describe("a request", () => {
  test.each([
    ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
    ["logprobs", { logprobs: true }],
    ["n", { n: 2 }],
    ["response_format", { response_format: { type: "json_object" } }],
    ["priority", { priority: 1 }],
    ["min_tokens", { min_tokens: 1 }],
    ["ignore_eos", { ignore_eos: true }],
    ["stop_token_ids", { stop_token_ids: [1] }],
    ["include_stop_str_in_output", { include_stop_str_in_output: true }],
    ["logit_bias", { logit_bias: { "1": 1 } }],
    ["max_tokens", { max_tokens: 0 }],
    ["maximum context length", { max_tokens: 1_000 }],
    ["Stream options", { stream_options: { include_usage: true } }],
    ["cache_salt", { cache_salt: {} }],
  ])("for %s is refused by name", (name, fields) => {
    expect(() => readChat(runner, "m", { messages: [user], ...fields })).toThrow(name);
  });

  test("for another model finds none", () => {
    expect(() => readChat(runner, "m", { model: "other", messages: [user] })).toThrow(
      expect.objectContaining({ status: 404 }),
    );
  });

  test("has OpenAI's defaults, and what it says itself", () => {
    expect(readChat(runner, "m", { messages: [user] })).toMatchObject({
      run: {
        tokensMax: 60 - "<user>a|model>".length,
        stops: [],
        cacheSalt: "",
        sampling: { temperature: 1, topP: 1, topK: 0, minP: 0 },
      },
      isStreamed: false,
      hasUsage: false,
      hasTokenIds: false,
    });
    const own = { seed: -7, stop: ["x", ""], temperature: 0, cache_salt: "s", max_tokens: 3 };
    expect(readCompletion(runner, "m", { prompt: "a", ...own }).run).toMatchObject({
      tokensMax: 3,
      stops: ["x"],
      cacheSalt: "s",
      sampling: { temperature: 0, seed: 7 },
    });
    expect(readCompletion(runner, "m", { prompt: "a" }).run.tokensMax).toBe(16);
  });
});
