import { describe, expect, it } from "vitest";
import { createEngineStreamReader } from "#shared/protocol/engine-stream.ts";
import type { EngineStreamOptions } from "#shared/protocol/engine-stream.ts";
import type { EngineEvent, InvalidReason } from "#shared/protocol/engine-event.ts";

type Chunk = Readonly<Record<string, unknown>>;

const usage = { prompt_tokens: 5, completion_tokens: 2 };
const usageEvent: EngineEvent = {
  kind: "usage",
  usage: { promptTokens: 5, completionTokens: 2, cachedTokens: 0, reasoningTokens: 0 },
};

function chunkOf(choices: readonly unknown[], extra: Chunk = {}): Chunk {
  const head = { id: "c1", object: "chat.completion.chunk", created: 1, model: "m" };
  return { ...head, choices, ...extra };
}

function says(content: string, index = 0): Chunk {
  return chunkOf([{ index, delta: { content }, finish_reason: null }]);
}

function ends(finishReason = "stop", index = 0): Chunk {
  return chunkOf([{ index, delta: {}, finish_reason: finishReason }]);
}

function calls(...pieces: readonly unknown[]): Chunk {
  return chunkOf([{ index: 0, delta: { tool_calls: pieces } }]);
}

function sse(...chunks: readonly (Chunk | string)[]): string {
  return chunks
    .map((chunk) => `data: ${typeof chunk === "string" ? chunk : JSON.stringify(chunk)}\n\n`)
    .join("");
}

const role = chunkOf([{ index: 0, delta: { role: "assistant", content: "" } }]);
const total = chunkOf([], { usage });
const wholeStream = sse(role, says("a"), says("b"), ends(), total, "[DONE]");

function read(text: string, options: Partial<EngineStreamOptions> = {}): readonly EngineEvent[] {
  const reader = createEngineStreamReader({
    path: "chat/completions",
    choices: 1,
    model: null,
    ...options,
  });
  return [...reader.push(text), ...reader.end()];
}

function text(content: string): EngineEvent {
  return { kind: "delta", choice: 0, text: content };
}

const stop: EngineEvent = { kind: "delta", choice: 0, finishReason: "stop" };
const done: EngineEvent = { kind: "done" };

function invalid(reason: InvalidReason): EngineEvent {
  return { kind: "invalid", reason };
}

describe("the engine stream reader", () => {
  it("gives deltas, usage and the end of a whole stream", () => {
    expect(read(wholeStream)).toEqual([text("a"), text("b"), stop, usageEvent, done]);
  });

  it("gives the same events however the stream is cut (F-54)", () => {
    const crlf = wholeStream.replaceAll("\n", "\r\n");
    for (let cut = 0; cut <= crlf.length; cut += 1) {
      const reader = createEngineStreamReader({
        path: "chat/completions",
        choices: 1,
        model: null,
      });
      const events = [...reader.push(crlf.slice(0, cut)), ...reader.push(crlf.slice(cut))];
      expect([...events, ...reader.end()]).toEqual(read(wholeStream));
    }
  });

  it("takes content that looks like the end of a stream for content", () => {
    const content = "x\n\ndata: [DONE]\n\n\u2028event: error\r\n";
    const events = read(sse(says(content), ends(), "[DONE]"));
    expect(events).toEqual([text(content), stop, done]);
  });

  it("takes a stream without usage; the caller estimates", () => {
    expect(read(sse(says("a"), ends(), "[DONE]"))).toEqual([text("a"), stop, done]);
  });

  it("takes the last running usage when no usage comes alone", () => {
    const first = { ...says("a"), usage: { prompt_tokens: 5, completion_tokens: 1 } };
    expect(read(sse(first, { ...ends(), usage }, "[DONE]"))).toEqual([
      text("a"),
      stop,
      usageEvent,
      done,
    ]);
  });

  it("prefers the usage that comes alone, and the first of them", () => {
    const other = { prompt_tokens: 9, completion_tokens: 9 };
    const late = chunkOf([], { usage: other });
    const events = read(sse({ ...says("a"), usage: other }, ends(), total, late, "[DONE]"));
    expect(events).toEqual([text("a"), stop, usageEvent, done]);
  });

  it("passes prompt token ids on once", () => {
    const first = { ...role, prompt_token_ids: [1, 2] };
    const again = { ...says("a"), prompt_token_ids: [1, 2] };
    expect(read(sse(first, again))[0]).toEqual({ kind: "promptTokenIds", tokenIds: [1, 2] });
    expect(read(sse(first, again)).filter(({ kind }) => kind === "promptTokenIds")).toHaveLength(1);
  });

  it("skips comments and keep-alives between the pieces", () => {
    expect(read(`: ping\n\n${wholeStream.replace("data", ": ping\n\ndata")}`)).toEqual(
      read(wholeStream),
    );
  });

  it("waits for every choice", () => {
    const both = sse(says("a"), says("b", 1), ends(), ends("length", 1), "[DONE]");
    expect(read(both, { choices: 2 }).at(-1)).toEqual(done);
    const one = sse(says("a"), says("b", 1), ends(), "[DONE]");
    expect(read(one, { choices: 2 }).at(-1)).toEqual(invalid("noFinishReason"));
  });

  it("reads completions from text and prompt ids from the choice", () => {
    const choice = { index: 0, text: "a", logprobs: null, prompt_token_ids: [7] };
    const end = { index: 0, text: "", finish_reason: "stop" };
    expect(read(sse(chunkOf([choice]), chunkOf([end]), "[DONE]"), { path: "completions" })).toEqual(
      [{ kind: "promptTokenIds", tokenIds: [7] }, text("a"), stop, done],
    );
  });

  const refusals: readonly (readonly [
    string,
    string,
    InvalidReason,
    Partial<EngineStreamOptions>?,
  ])[] = [
    ["F-48: half a stream", sse(role, says("a")), "noFinishReason"],
    ["F-48: half an event", `${sse(role, says("a"))}data: {"id":"c1"`, "noFinishReason"],
    ["F-49: a clean end without a finish reason", sse(says("a"), "[DONE]"), "noFinishReason"],
    ["F-49: a clean end without [DONE]", sse(says("a"), ends(), total), "noDone"],
    ["F-50: an error object", sse({ error: { message: "out of memory" } }), "errorChunk"],
    ["F-50: an error chunk after content", sse(says("a"), { error: { code: 500 } }), "errorChunk"],
    ["F-50: an error of vLLM's older shape", sse({ object: "error", message: "no" }), "errorChunk"],
    ["F-50: an error beside choices", sse({ ...says("a"), error: { code: 1 } }), "errorChunk"],
    ["F-50: an error event", 'event: error\ndata: {"message":"x"}\n\n', "errorChunk"],
    ["F-50: an error event without JSON", "event: error\ndata: x\n\n", "errorChunk"],
    ["F-50: finish reason abort", sse(says("a"), ends("abort"), "[DONE]"), "errorChunk"],
    ["F-50: finish reason error", sse(says("a"), ends("error"), "[DONE]"), "errorChunk"],
    ["F-51: HTML", "<!doctype html>\n<html><body>502</body></html>\n", "sse"],
    ["F-51: HTML in one line without end", "<html>502</html>", "empty"],
    ["F-51: nothing", "", "empty"],
    ["F-51: comments only", ": ping\n\n: ping\n\n", "empty"],
    ["F-51: bad JSON", sse('{"id":'), "json"],
    ["F-51: [DONE] of other letters", sse(says("a"), ends(), "[done]"), "json"],
    ["F-51: [DONE] with a space behind it", sse(says("a"), ends(), "[DONE] "), "json"],
    ["F-51: a JSON document without SSE", `${JSON.stringify(says("a"))}\n`, "sse"],
    ["F-51: JSON that is no object", sse("[]"), "shape"],
    ["F-51: null", sse("null"), "shape"],
    ["F-51: an object without choices", sse({ id: "c1", model: "m" }), "shape"],
    [
      "F-51: a whole answer where a chunk belongs",
      sse(chunkOf([{ index: 0, message: { content: "a" } }])),
      "shape",
    ],
    ["F-51: a choice that is no object", sse(chunkOf(["a"])), "shape"],
    [
      "F-51: content that is no text",
      sse(chunkOf([{ index: 0, delta: { content: ["a"] } }])),
      "shape",
    ],
    [
      "F-51: a finish reason that is no text",
      sse(chunkOf([{ index: 0, delta: {}, finish_reason: 1 }])),
      "shape",
    ],
    ["F-51: an empty finish reason", sse(ends("")), "shape"],
    [
      "F-51: token ids that are none",
      sse(chunkOf([{ index: 0, delta: {}, token_ids: [-1] }])),
      "shape",
    ],
    ["F-51: prompt token ids that are none", sse({ ...role, prompt_token_ids: ["1"] }), "shape"],
    [
      "F-51: log probabilities that are no object",
      sse(chunkOf([{ index: 0, delta: { content: "a" }, logprobs: [1] }])),
      "shape",
    ],
    [
      "F-53: a line longer than allowed",
      sse(says("a".repeat(200))),
      "lineTooLong",
      { limits: { lineCharactersMax: 200, eventCharactersMax: 200 } },
    ],
    [
      "F-53: an event longer than allowed",
      "data:\n".repeat(300),
      "lineTooLong",
      { limits: { lineCharactersMax: 200, eventCharactersMax: 200 } },
    ],
    ["F-55: another id in the stream", sse(says("a"), { ...says("b"), id: "c2" }), "shape"],
    ["F-55: an id that is no text", sse({ ...says("b"), id: 7 }), "shape"],
    ["F-55: a repeated finish", sse(says("a"), ends(), ends(), "[DONE]"), "shape"],
    ["F-55: content after the finish", sse(says("a"), ends(), says("b"), "[DONE]"), "shape"],
    ["F-55: [DONE] twice", wholeStream + sse("[DONE]"), "afterDone"],
    ["F-55: data after [DONE]", wholeStream + sse(says("c")), "afterDone"],
    ["F-55: usage after [DONE]", sse(says("a"), ends(), "[DONE]", total), "afterDone"],
    ["F-55: a choice that was not asked for", sse(says("a", 1)), "shape"],
    [
      "F-55: a choice without index where there are several",
      sse(chunkOf([{ delta: { content: "a" } }])),
      "shape",
      { choices: 2 },
    ],
    ["F-55: a choice below zero", sse(says("a", -1)), "shape"],
    [
      "F-55: absurd usage",
      sse(says("a"), ends(), chunkOf([], { usage: { prompt_tokens: -1 } })),
      "shape",
    ],
    [
      "F-56: another model in the stream",
      sse(says("a"), { ...says("b"), model: "other" }),
      "wrongModel",
    ],
    ["F-56: another model than was asked for", sse(says("a")), "wrongModel", { model: "wanted" }],
    ["F-56: a model that is no text", sse({ ...says("a"), model: 1 }), "shape"],
    [
      "tool calls that begin with the second",
      sse(calls({ index: 1, id: "t", function: { name: "f" } })),
      "shape",
    ],
    [
      "tool calls of which one is left out",
      sse(calls({ index: 0, function: { name: "f" } }, { index: 2, function: { name: "g" } })),
      "shape",
    ],
    [
      "arguments before the name of their call",
      sse(calls({ index: 0, function: { arguments: "{" } })),
      "shape",
    ],
    ["a tool call without index", sse(calls({ function: { name: "f" } })), "shape"],
    [
      "a tool call past the most there may be",
      sse(calls({ index: 128, function: { name: "f" } })),
      "shape",
    ],
    ["a tool call whose name is no text", sse(calls({ index: 0, function: { name: 1 } })), "shape"],
    ["a tool call whose function is none", sse(calls({ index: 0, function: "f" })), "shape"],
    [
      "tool calls that are no list",
      sse(chunkOf([{ index: 0, delta: { tool_calls: {} } }])),
      "shape",
    ],
  ];

  const cases = refusals.map(([name, stream, reason, options = {}]) => {
    return { name, stream, reason, options };
  });

  it.each(cases)("refuses $name", ({ stream, reason, options }) => {
    const events = read(stream, options);
    expect(events.at(-1)).toEqual(invalid(reason));
    expect(events.filter(({ kind }) => kind === "invalid")).toHaveLength(1);
  });

  it.each(cases)("refuses $name at every cut, with the same events", ({ stream, options }) => {
    const expected = read(stream, options);
    const reader = createEngineStreamReader({
      path: "chat/completions",
      choices: 1,
      model: null,
      ...options,
    });
    const events = stream.split("").flatMap((character) => reader.push(character));
    expect([...events, ...reader.end()]).toEqual(expected);
  });

  it("says nothing more once it has refused", () => {
    const reader = createEngineStreamReader({ path: "chat/completions", choices: 1, model: null });
    expect(reader.push(sse("{"))).toEqual([invalid("json")]);
    expect(reader.push(wholeStream)).toEqual([]);
    expect(reader.end()).toEqual([]);
  });

  it("believes a chunk whole or not at all", () => {
    const half = chunkOf([
      { index: 0, delta: { content: "b" } },
      { index: 5, delta: { content: "c" } },
    ]);
    expect(read(sse(says("a"), half))).toEqual([text("a"), invalid("shape")]);
  });

  it("gives what was whole before the fault", () => {
    expect(read(sse(says("a"), "{"))).toEqual([text("a"), invalid("json")]);
  });

  describe("of tool calls", () => {
    const first = { index: 0, id: "t0", type: "function", function: { name: "f", arguments: "" } };
    const second = {
      index: 1,
      id: "t1",
      type: "function",
      function: { name: "g", arguments: "{}" },
    };

    function piecesOf(...chunks: readonly Chunk[]): readonly unknown[] {
      return read(sse(...chunks, ends("tool_calls"), "[DONE]")).map((event) =>
        event.kind === "delta" ? (event.toolCalls ?? event.finishReason) : event.kind,
      );
    }

    it("passes pieces on as they come, also of calls that interleave", () => {
      const argument = (index: number, piece: string) =>
        calls({ index, function: { arguments: piece } });
      expect(piecesOf(calls(first), argument(0, "{"), calls(second), argument(0, "}"))).toEqual([
        [{ index: 0, id: "t0", name: "f" }],
        [{ index: 0, arguments: "{" }],
        [{ index: 1, id: "t1", name: "g", arguments: "{}" }],
        [{ index: 0, arguments: "}" }],
        "tool_calls",
        "done",
      ]);
    });

    it("names each call once, whatever the engine repeats", () => {
      const again = { ...first, function: { name: "f", arguments: "{}" } };
      expect(piecesOf(calls(first), calls(again))).toEqual([
        [{ index: 0, id: "t0", name: "f" }],
        [{ index: 0, arguments: "{}" }],
        "tool_calls",
        "done",
      ]);
    });

    it("takes the last call that there may be", () => {
      const all = Array.from({ length: 128 }, (_, index) => ({ index, function: { name: "f" } }));
      expect(piecesOf(calls(...all))).toEqual([
        all.map(({ index }) => ({ index, name: "f" })),
        "tool_calls",
        "done",
      ]);
    });
  });
});
