import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import type { DeltaEvent } from "#shared/protocol/engine-event.ts";
import type { Api } from "#shared/protocol/internal/turn-request.ts";
import {
  aRendering,
  encode,
  parseFrames,
  streamText,
} from "#test/unit/shared/protocol/encoders/answer-builders.ts";
import type { Parsed } from "#test/unit/shared/protocol/encoders/answer-builders.ts";
import { regroup, someDeltas } from "./answers.ts";

const protocols: readonly (readonly [Exclude<Api, "embeddings">, 1 | 2])[] = [
  ["chat", 2],
  ["completions", 2],
  ["responses", 1],
];
const joins = fc.array(fc.boolean(), { minLength: 1, maxLength: 9 });

/** Adds `text` to what `key` of `parts` has. */
function append(parts: Record<string, string>, key: string, text: unknown): void {
  if (typeof text === "string") parts[key] = (parts[key] ?? "") + text;
}

/** Everything that a chat stream says, by choice and place. */
function chatTexts(frames: readonly Parsed[]): Record<string, string> {
  const parts: Record<string, string> = {};
  for (const { choices } of frames) {
    for (const choice of choices as readonly Parsed[]) {
      const delta = choice["delta"] as Parsed;
      const at = String(choice["index"]);
      append(parts, `${at} content`, delta["content"]);
      append(parts, `${at} refusal`, delta["refusal"]);
      append(parts, `${at} reasoning`, delta["reasoning_content"]);
      append(parts, `${at} finish`, choice["finish_reason"]);
      for (const call of (delta["tool_calls"] ?? []) as readonly Parsed[]) {
        const called = call["function"] as Parsed;
        append(parts, `${at} call ${String(call["index"])} id`, call["id"]);
        append(parts, `${at} call ${String(call["index"])} name`, called["name"]);
        append(parts, `${at} call ${String(call["index"])} arguments`, called["arguments"]);
      }
    }
  }
  return parts;
}

/** The same of a whole chat answer, as if it had come in one chunk. */
function wholeChatTexts(body: Parsed): Record<string, string> {
  const choices = (body["choices"] as readonly Parsed[]).map((choice) => {
    const message = choice["message"] as Parsed;
    const calls = (message["tool_calls"] ?? []) as readonly Parsed[];
    const numbered = calls.map((call, index) => ({ index, ...call }));
    const delta = { ...message, content: message["content"] ?? "", tool_calls: numbered };
    return { ...choice, delta };
  });
  return chatTexts([{ choices }]);
}

/** Output items as the deltas of a responses stream build them. */
function builtOutput(events: readonly Parsed[]): readonly unknown[] {
  const items: { type: unknown; call: unknown; parts: string[] }[] = [];
  for (const event of events) {
    const type = String(event["type"]);
    const item = items[Number(event["output_index"])];
    if (type === "response.output_item.added") {
      const added = event["item"] as Parsed;
      const isCall = added["type"] === "function_call";
      items.push({ type: added["type"], call: added["call_id"], parts: isCall ? [""] : [] });
    } else if (type === "response.content_part.added") item?.parts.push("");
    else if (type.endsWith(".delta") && item !== undefined) {
      const at = Number(event["content_index"] ?? 0);
      item.parts[at] = (item.parts[at] ?? "") + String(event["delta"]);
    }
  }
  return items;
}

/** The same of a whole response. */
function wholeOutput(body: Parsed): readonly unknown[] {
  return (body["output"] as readonly Parsed[]).map((item) => ({
    type: item["type"],
    call: item["call_id"],
    parts:
      item["type"] === "function_call"
        ? [item["arguments"]]
        : (item["content"] as readonly Parsed[]).map((part) => part["text"] ?? part["refusal"]),
  }));
}

describe.each(protocols)("the %s encoder", (api, choices) => {
  const rendering = aRendering({ api });
  const deltas = someDeltas(choices);

  it("gives the same bytes for the same pieces, also when another encoder began", () => {
    fc.assert(
      fc.property(deltas, fc.nat(), (pieces, cut) => {
        const whole = encode(rendering, pieces, choices);
        const at = cut % (pieces.length + 1);
        const one = createEncoder(rendering, choices);
        const begun = [...one.open(), ...pieces.slice(0, at).flatMap((piece) => one.delta(piece))];
        expect(streamText(whole.frames).startsWith(streamText(begun))).toBe(true);
        expect(encode(rendering, pieces, choices)).toEqual(whole);
      }),
    );
  });

  it("answers the same whole, in whatever groups the pieces come", () => {
    fc.assert(
      fc.property(deltas, joins, (pieces, isJoined) => {
        const { body, items, status } = encode(rendering, pieces, choices).answer;
        const grouped = encode(rendering, regroup(pieces, isJoined), choices).answer;
        expect({ body: grouped.body, items: grouped.items, status: grouped.status }).toEqual({
          body,
          items,
          status,
        });
      }),
      { numRuns: 300 },
    );
  });

  it("writes frames that no reader splits: JSON in well-formed text without line ends", () => {
    fc.assert(
      fc.property(deltas, joins, (pieces, isJoined) => {
        const { frames } = encode(rendering, regroup(pieces, isJoined), choices);
        for (const { event, data } of frames) {
          expect(`${event ?? ""}${data}`).not.toMatch(/[^ -\u0084\u0086-\u2027\u202A-\u{10FFFF}]/u);
          expect(data.isWellFormed()).toBe(true);
        }
        parseFrames(frames);
      }),
    );
  });
});

/** Pieces of one choice, in groups. */
const grouped = (choices: 1 | 2): fc.Arbitrary<readonly DeltaEvent[]> =>
  fc.tuple(someDeltas(choices), joins).map(([pieces, isJoined]) => regroup(pieces, isJoined));

describe("streamed pieces joined are the whole answer", () => {
  it("of chat completions", () => {
    fc.assert(
      fc.property(grouped(2), (pieces) => {
        const { frames, answer } = encode(aRendering(), pieces, 2);
        expect(chatTexts(parseFrames(frames))).toEqual(wholeChatTexts(answer.body));
      }),
    );
  });

  it("of completions", () => {
    fc.assert(
      fc.property(grouped(2), (pieces) => {
        const { frames, answer } = encode(aRendering({ api: "completions" }), pieces, 2);
        const texts = ["", ""];
        for (const { choices } of parseFrames(frames)) {
          for (const choice of choices as readonly Parsed[]) {
            const index = Number(choice["index"]);
            texts[index] = (texts[index] ?? "") + String(choice["text"]);
          }
        }
        expect(answer.body).toMatchObject({ choices: texts.map((text) => ({ text })) });
      }),
    );
  });

  it("of responses, with gapless numbers and one item for each call", () => {
    fc.assert(
      fc.property(grouped(1), (pieces) => {
        const { frames, answer } = encode(aRendering({ api: "responses" }), pieces);
        const events = parseFrames(frames);
        expect(events.map((event) => event["sequence_number"])).toEqual(events.map((_, at) => at));
        expect(builtOutput(events)).toEqual(wholeOutput(answer.body));
        const ids = answer.items.map(({ id }) => id);
        expect(new Set(ids).size).toBe(ids.length);
        const begun = pieces.flatMap(({ toolCalls }) => toolCalls ?? []).filter(({ name }) => name);
        const output = answer.body["output"] as unknown as readonly Parsed[];
        const callIds = output.flatMap((item) => item["call_id"] ?? []);
        expect(callIds).toHaveLength(begun.length);
        expect(new Set(callIds).size).toBe(begun.length);
      }),
      { numRuns: 300 },
    );
  });
});
