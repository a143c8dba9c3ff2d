import fc from "fast-check";
import { describe, it } from "vitest";
import { isErrorCode } from "#shared/errors/codes.ts";
import { parseChatRequest } from "#shared/protocol/openai/chat-request.ts";
import { parseCompletionsRequest } from "#shared/protocol/openai/completions-request.ts";
import {
  parseConversationCreate,
  parseConversationUpdate,
  parseItemsCreate,
} from "#shared/protocol/openai/conversation-requests.ts";
import { parseEmbeddingsRequest } from "#shared/protocol/openai/embeddings-request.ts";
import { scanJson } from "#shared/protocol/openai/json-scan.ts";
import { parseJsonBody } from "#shared/protocol/openai/parse-json-body.ts";
import { parseResponsesRequest } from "#shared/protocol/openai/responses-request.ts";
import type { JsonObject } from "#shared/protocol/json.ts";

const parsers = [
  parseChatRequest,
  parseCompletionsRequest,
  parseEmbeddingsRequest,
  parseResponsesRequest,
  parseConversationCreate,
  parseConversationUpdate,
  parseItemsCreate,
] as const;

const names = [
  "model",
  "messages",
  "prompt",
  "input",
  "items",
  "tools",
  "tool_choice",
  "stream",
  "n",
  "metadata",
  "stop",
  "logit_bias",
  "response_format",
  "text",
  "reasoning",
  "conversation",
  "role",
  "content",
  "type",
  "text",
  "image_url",
  "url",
  "id",
  "call_id",
  "name",
  "arguments",
  "tool_calls",
  "function",
  "function_call",
  "output",
  "summary",
  "format",
  "include",
];
const words = [
  "user",
  "assistant",
  "tool",
  "system",
  "text",
  "input_text",
  "output_text",
  "function",
  "message",
  "function_call",
  "function_call_output",
  "reasoning",
  "image_url",
  "refusal",
  "item_reference",
  "json_schema",
  "auto",
  "https://a.example/b.png",
];

/** JSON that looks like requests: their names and words in every wrong and right place. */
const requestLike = fc.letrec<{ value: unknown; object: JsonObject }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6 },
    fc.constantFrom(...words),
    fc.constantFrom(null, true, false, 0, -0, 1, -1, 1.5, 2 ** 53, 2 ** 63, ""),
    fc.array(tie("value"), { maxLength: 3 }),
    tie("object"),
  ),
  object: fc.dictionary(
    fc.oneof(fc.constantFrom(...names), fc.string({ maxLength: 5 })),
    tie("value"),
    { maxKeys: 6 },
  ) as fc.Arbitrary<JsonObject>,
}));

describe("parsers of requests", () => {
  it("never throw, and name the code and a bounded parameter when they refuse", () => {
    fc.assert(
      fc.property(requestLike.object, fc.constantFrom(...parsers), (body, parse) => {
        const result = parse(body);
        if (result.ok) return true;
        const { code, param, message } = result.error;
        return isErrorCode(code) && (param ?? "").length < 330 && message.length < 2000;
      }),
      { numRuns: 3000 },
    );
  });

  it("never throw when only one field of a good chat is wrong", () => {
    const good = { model: "m", messages: [{ role: "user", content: "x" }] };
    fc.assert(
      fc.property(fc.constantFrom(...names), requestLike.value, (name, value) => {
        const body = JSON.parse(JSON.stringify({ ...good, [name]: value })) as JsonObject;
        const chat = parseChatRequest(body);
        const response = parseResponsesRequest({ input: "x", ...body });
        return typeof chat.ok === "boolean" && typeof response.ok === "boolean";
      }),
      { numRuns: 2000 },
    );
  });
});

/** What is put into a text to break it. */
const changes = [
  "",
  "{",
  "}",
  "[",
  "]",
  '"',
  ",",
  ":",
  "\\",
  "\\u",
  "\\ud800",
  "0",
  "-",
  ".",
  "e",
  "+",
].concat(["1", " ", "\n", "\0", "t", "null", "\ud800", "\udc00"]);

describe("the JSON scanner", () => {
  it("passes what JSON.stringify writes, unless it holds what is forbidden", () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(3), (text, indent) => {
        const value: unknown = JSON.parse(text);
        const problem = scanJson(JSON.stringify(value, null, indent));
        const forgiven = ["nul", "loneSurrogate", "forbiddenKey"];
        return problem === null || forgiven.includes(problem.fault);
      }),
    );
  });

  it("passes nothing that JSON.parse refuses, whatever is cut, added or changed", () => {
    const mutated = fc
      .tuple(fc.json(), fc.nat(), fc.nat(3), fc.constantFrom(...changes))
      .map(([text, at, removed, added]) => {
        const place = text.length === 0 ? 0 : at % text.length;
        return text.slice(0, place) + added + text.slice(place + removed);
      });
    fc.assert(
      fc.property(mutated, (text) => {
        if (scanJson(text) !== null) return true;
        JSON.parse(text);
        return text.isWellFormed();
      }),
      { numRuns: 5000 },
    );
  });

  it("gives JSON.parse's own value for every body that it passes", ({ expect }) => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const text = JSON.stringify(value);
        const result = parseJsonBody(text);
        if (result.ok) expect(result.value).toEqual(JSON.parse(text));
      }),
    );
  });
});
