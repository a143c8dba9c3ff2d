import { describe, expect, it } from "vitest";
import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import type { DeltaEvent } from "#shared/protocol/engine-event.ts";
import {
  aRendering,
  calls,
  encode,
  ends,
  parseFrames,
  refuses,
  says,
  thinks,
} from "./answer-builders.ts";
import type { Parsed } from "./answer-builders.ts";

const rendering = aRendering({
  api: "responses",
  publicId: "resp_1",
  echo: { instructions: "be brief", metadata: { a: "b" } },
});

function eventsOf(...deltas: readonly DeltaEvent[]): readonly Parsed[] {
  return parseFrames(encode(rendering, [...deltas, ends()]).frames);
}

function outputOf(...deltas: readonly DeltaEvent[]): readonly Parsed[] {
  return encode(rendering, [...deltas, ends()]).answer.body["output"] as unknown as Parsed[];
}

function typesOf(events: readonly Parsed[]): readonly string[] {
  return events.map(({ type }) => String(type).replace("response.", ""));
}

const mixed = [
  thinks("r"),
  says("a"),
  calls({ index: 0, id: "t0", name: "f", arguments: "{" }),
  says("b"),
  calls({ index: 1, id: "t1", name: "g" }),
  thinks("s"),
  calls({ index: 0, arguments: "}" }, { index: 1, arguments: "[]" }),
  refuses("no"),
];

describe("the responses encoder", () => {
  it("tells of a message in the order of the official API", () => {
    expect(typesOf(eventsOf(says("a"), says("b")))).toEqual([
      "created",
      "in_progress",
      "output_item.added",
      "content_part.added",
      "output_text.delta",
      "output_text.delta",
      "output_text.done",
      "content_part.done",
      "output_item.done",
      "completed",
    ]);
  });

  it("numbers events without a gap, and names each as its data does", () => {
    const { frames } = encode(rendering, [...mixed, ends()]);
    const events = parseFrames(frames);
    expect(events.map((event) => event["sequence_number"])).toEqual(events.map((_, at) => at));
    expect(frames.map(({ event }) => event)).toEqual(events.map(({ type }) => type));
  });

  it("goes on numbering when the turn fails", () => {
    const encoder = createEncoder(rendering, 1);
    const { length } = [...encoder.open(), ...encoder.delta(says("a"))];
    expect(parseFrames(encoder.fail({ code: "interrupted", message: "broken" }))).toMatchObject([
      {
        type: "response.failed",
        sequence_number: length,
        response: {
          status: "failed",
          error: { code: "server_error", message: "interrupted: broken" },
        },
      },
    ]);
  });

  it("keeps one tool call in one item, whatever comes between its pieces", () => {
    const output = outputOf(...mixed);
    expect(output.filter(({ type }) => type === "function_call")).toMatchObject([
      { call_id: "t0", name: "f", arguments: "{}" },
      { call_id: "t1", name: "g", arguments: "[]" },
    ]);
  });

  it("leaves a message open while a call that began before it goes on", () => {
    const call = { index: 0, id: "t0", name: "f" };
    const goesOn = calls({ index: 0, arguments: "{}" });
    const output = outputOf(calls(call), says("a"), goesOn, says("b"));
    expect(output.map(({ type }) => type)).toEqual(["function_call", "message"]);
    expect(output[1]).toMatchObject({ content: [{ text: "ab" }] });
  });

  it("gives each item an id and an index of its own, the same from beginning to end", () => {
    const events = eventsOf(...mixed);
    const itemsOf = (type: string) =>
      events
        .filter((event) => event["type"] === type)
        .map((event) => [event["output_index"], (event["item"] as Parsed)["id"]] as const);
    const added = itemsOf("response.output_item.added");
    expect(added.map(([index]) => index)).toEqual(added.map((_, index) => index));
    expect(new Set(added.map(([, id]) => id)).size).toBe(added.length);
    expect(
      itemsOf("response.output_item.done").toSorted(([a], [b]) => Number(a) - Number(b)),
    ).toEqual(added);
    expect(outputOf(...mixed).map(({ id }) => id)).toEqual(added.map(([, id]) => id));
  });

  it("closes each item once, after the last of its pieces", () => {
    const open = new Set<unknown>();
    for (const event of eventsOf(...mixed)) {
      const item = (event["item"] as Parsed | undefined)?.["id"] ?? event["item_id"];
      if (event["type"] === "response.output_item.added") open.add(item);
      else if (item !== undefined) expect(open).toContain(item);
      if (event["type"] === "response.output_item.done") open.delete(item);
    }
    expect(open).toEqual(new Set());
  });

  it("makes the id that an engine left out, or gave twice, from the turn", () => {
    const named = ["t", undefined, "t"].map((id, index) =>
      calls({ index, name: "f", ...(id === undefined ? {} : { id }) }),
    );
    expect(outputOf(...named).map((item) => item["call_id"])).toEqual([
      "t",
      "call_stem0x1",
      "call_stem0x2",
    ]);
  });

  it("keeps parts of a message in the order in which it named them", () => {
    const [item] = outputOf(refuses("no"), says("a"));
    expect(item?.["content"]).toEqual([
      { type: "refusal", refusal: "no" },
      { type: "output_text", text: "a", annotations: [], logprobs: [] },
    ]);
  });

  describe("of log probabilities", () => {
    const entry = (token: string) => ({ token, logprob: -1 });
    const logprobs = (token: string) => ({ content: [entry(token)] });

    it("gives them with their piece and all at the end", () => {
      const deltas = [
        { ...says("a"), logprobs: logprobs("a") },
        { kind: "delta", choice: 0, logprobs: logprobs("b") } as const,
        { ...says("c"), logprobs: logprobs("c") },
      ];
      const all = [entry("a"), entry("b"), entry("c")];
      expect(outputOf(...deltas)).toMatchObject([{ content: [{ text: "ac", logprobs: all }] }]);
      const pieces = eventsOf(...deltas).filter(
        ({ type }) => type === "response.output_text.delta",
      );
      expect(pieces.flatMap((event) => event["logprobs"])).toEqual(all);
    });

    it.each([
      ["before any text", [{ kind: "delta", choice: 0, logprobs: logprobs("a") }]],
      ["of reasoning", [{ ...thinks("r"), logprobs: logprobs("r") }]],
      ["of a tool call", [{ ...calls({ index: 0, name: "f" }), logprobs: logprobs("f") }]],
      ["that are none", [{ ...says("a"), logprobs: { content: null } }]],
    ] satisfies readonly (readonly [string, readonly DeltaEvent[]])[])(
      "leaves out those %s",
      (_, deltas) => {
        expect(JSON.stringify(outputOf(...deltas))).not.toContain('logprob"');
      },
    );
  });

  it.each([
    ["stop", "completed", null],
    ["tool_calls", "completed", null],
    ["length", "incomplete", { reason: "max_output_tokens" }],
    ["content_filter", "incomplete", { reason: "content_filter" }],
  ])("calls an answer that ends by %s %s", (finishReason, status, details) => {
    const { answer } = encode(rendering, [says("a"), ends(finishReason)]);
    expect(answer.body).toMatchObject({ status, incomplete_details: details });
    expect(answer.terminal.map(({ event }) => event)).toEqual([`response.${status}`]);
    expect(JSON.parse(answer.items[0]?.json ?? "")).toMatchObject({ status });
  });

  it("answers nothing with one empty message", () => {
    expect(outputOf()).toMatchObject([{ id: "msg_stem_0", content: [{ text: "" }] }]);
  });

  it("repeats what the request said, in every response object", () => {
    const events = eventsOf(says("a"));
    for (const event of [events[0], events[1], events.at(-1)]) {
      expect(event?.["response"]).toMatchObject({ id: "resp_1", ...rendering.echo });
    }
  });
});
