import { describe, expect, it } from "vitest";
import { withDelta, withoutUnsaid } from "#shared/conversation/answer-so-far.ts";
import type { ChoiceState } from "#shared/conversation/answer-so-far.ts";
import { planContinuation } from "#shared/conversation/continuation.ts";
import type { ContinuationAbility } from "#shared/conversation/continuation.ts";
import type { DeltaEvent } from "#shared/protocol/engine-event.ts";
import type { EngineRequest, TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { JsonObject } from "#shared/protocol/json.ts";

type Piece = Omit<DeltaEvent, "kind" | "choice"> & { readonly choice?: number };

const messages = [{ role: "user", content: "Hello" }];
const promptIds = [1, 2, 3];
const hello: readonly Piece[] = [
  { text: "Good", tokenIds: [10] },
  { text: " day", tokenIds: [11] },
];

function said(...pieces: readonly Piece[]): readonly ChoiceState[] {
  let choices: readonly ChoiceState[] = [];
  for (const piece of pieces) choices = withDelta(choices, { kind: "delta", choice: 0, ...piece });
  return choices.map(withoutUnsaid);
}

function plan(
  body: JsonObject,
  choices: readonly ChoiceState[],
  ability: ContinuationAbility = "tokens",
  path: EngineRequest["path"] = "chat/completions",
) {
  const request = { engine: { path, body } } as unknown as TurnRequest;
  return planContinuation(request, choices, promptIds, ability, 100);
}

describe("continuing a chat", () => {
  it("goes on from the token ids where the engine gave them all", () => {
    expect(plan({ messages, temperature: 0.5, seed: 7, max_tokens: 10 }, said(...hello))).toEqual({
      kind: "continue",
      path: "completions",
      body: { temperature: 0.5, seed: 7, max_tokens: 8, prompt: [1, 2, 3, 10, 11] },
      tokensBefore: 2,
    });
  });

  it("leaves an answer without a limit the rest of the context", () => {
    expect(plan({ messages }, said(...hello))).toMatchObject({ body: { max_tokens: 95 } });
  });

  it("goes on from the text where the engine does not take token ids", () => {
    expect(plan({ messages, max_completion_tokens: 10 }, said(...hello), "text")).toEqual({
      kind: "continue",
      path: "chat/completions",
      body: {
        messages: [...messages, { role: "assistant", content: "Good day" }],
        max_completion_tokens: 8,
        continue_final_message: true,
        add_generation_prompt: false,
      },
      tokensBefore: 2,
    });
  });

  it.each([
    ["stop sequences, of which tokens are ahead of the text", { stop: ["x"] }],
    ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
    ["log probabilities", { logprobs: true }],
    ["a field that nobody here knows", { future_field: 1 }],
  ])("goes on from the text with %s", (_name, body) => {
    expect(plan({ messages, ...body }, said(...hello))).toMatchObject({
      kind: "continue",
      path: "chat/completions",
      body,
    });
  });

  it("generates the tokens of an unfinished character again", () => {
    const choices = said(...hello, { tokenIds: [12] });
    expect(plan({ messages, max_tokens: 10 }, choices)).toMatchObject({
      body: { prompt: [1, 2, 3, 10, 11], max_tokens: 8 },
      tokensBefore: 2,
    });
  });

  it("counts a piece as a token where the engine gives no ids", () => {
    const choices = said({ text: "a" }, { text: "b" }, { text: "c" });
    expect(plan({ messages, max_tokens: 10, min_tokens: 2 }, choices)).toMatchObject({
      body: { max_tokens: 7, min_tokens: 0 },
      tokensBefore: 3,
    });
  });

  it("needs no shard for an answer that is as long as the client allowed", () => {
    expect(plan({ messages, max_tokens: 2 }, said(...hello))).toEqual({ kind: "cutAtLength" });
  });

  it("goes on from the tokens after a closed reasoning block, never from its text", () => {
    const choices = said({ reasoning: "Hm", tokenIds: [9] }, ...hello);
    expect(plan({ messages }, choices)).toMatchObject({ path: "completions" });
    expect(plan({ messages }, choices, "text")).toEqual({ kind: "regenerate" });
  });

  it.each<[string, JsonObject, readonly Piece[]]>([
    ["an open reasoning block", {}, [{ reasoning: "Hm", tokenIds: [9] }]],
    ["a tool call", {}, [...hello, { toolCalls: [{ index: 0, name: "f" }] }]],
    ["a refusal", {}, [{ refusal: "No" }]],
    ["a JSON schema", { response_format: { type: "json_schema" } }, hello],
    ["a JSON object", { response_format: { type: "json_object" } }, hello],
    ["a grammar", { guided_regex: "a+" }, hello],
    ["several choices", { n: 2 }, hello],
    ["nothing said", {}, [{ tokenIds: [10] }]],
    ["a finish reason without an end", {}, [...hello, { finishReason: "stop" }]],
  ])("begins again, to compare, with %s", (_name, body, pieces) => {
    expect(plan({ messages, ...body }, said(...pieces))).toEqual({ kind: "regenerate" });
  });

  it("begins again at an engine that is not known to continue", () => {
    expect(plan({ messages }, said(...hello), "none")).toEqual({ kind: "regenerate" });
  });

  it("takes a response format of text as none", () => {
    const body = { messages, response_format: { type: "text" } };
    expect(plan(body, said(...hello))).toMatchObject({ path: "completions" });
  });
});

describe("continuing a completion", () => {
  const go = (body: JsonObject, ability: ContinuationAbility = "tokens", pieces = hello) =>
    plan(body, said(...pieces), ability, "completions");

  it("goes on from the token ids", () => {
    expect(go({ prompt: "P", max_tokens: 5 })).toEqual({
      kind: "continue",
      path: "completions",
      body: { prompt: [1, 2, 3, 10, 11], max_tokens: 3 },
      tokensBefore: 2,
    });
  });

  it.each([
    ["an engine without them", { prompt: "P" }, "text"],
    ["stop sequences", { prompt: "P", stop: "x" }, "tokens"],
  ] as const)("goes on from the text with %s", (_name, body, ability) => {
    expect(go(body, ability)).toMatchObject({ body: { prompt: "PGood day" }, tokensBefore: 2 });
  });

  it.each<[string, JsonObject]>([
    ["an echoed prompt", { prompt: "P", echo: true }],
    ["log probabilities with offsets", { prompt: "P", logprobs: 1 }],
    ["a suffix", { prompt: "P", suffix: "S" }],
    ["the best of several", { prompt: "P", best_of: 2 }],
    ["several prompts", { prompt: ["P", "Q"] }],
  ])("begins again with %s", (_name, body) => {
    expect(go(body)).toEqual({ kind: "regenerate" });
  });

  it("begins again from a prompt of token ids at an engine that only knows text", () => {
    expect(go({ prompt: [1, 2] }, "text")).toEqual({ kind: "regenerate" });
  });
});
