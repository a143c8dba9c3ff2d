import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { surplusTokensOf, tokensOf, withDelta } from "#shared/conversation/answer-so-far.ts";
import type { ChoiceState } from "#shared/conversation/answer-so-far.ts";
import { coalesce } from "#shared/protocol/engine/coalesce.ts";
import type { DeltaEvent, EngineEvent } from "#shared/protocol/engine-event.ts";

const piece = (fields: Partial<DeltaEvent>): DeltaEvent => ({
  kind: "delta",
  choice: 0,
  ...fields,
});
const text = (said: string, choice = 0): DeltaEvent => piece({ text: said, choice });

function heard(events: readonly EngineEvent[]): readonly ChoiceState[] {
  let choices: readonly ChoiceState[] = [];
  for (const event of events) if (event.kind === "delta") choices = withDelta(choices, event);
  return choices;
}

describe("pieces that came together", () => {
  it("become one where they say text, with the number of pieces", () => {
    expect(coalesce([text("a"), text("b"), text("c")])).toEqual([
      { kind: "delta", choice: 0, text: "abc", pieces: 3 },
    ]);
    const counted = [text("a"), piece({ text: "bc", pieces: 2 })];
    expect(coalesce(counted)).toEqual([{ kind: "delta", choice: 0, text: "abc", pieces: 3 }]);
  });

  it("keep their token ids in order, and are not joined with pieces that have none", () => {
    const withIds = [piece({ text: "a", tokenIds: [1] }), piece({ text: "b", tokenIds: [2, 3] })];
    expect(coalesce([...withIds, text("c")])).toEqual([
      { kind: "delta", choice: 0, text: "ab", tokenIds: [1, 2, 3], pieces: 2 },
      text("c"),
    ]);
  });

  it.each<[string, EngineEvent]>([
    ["an end", piece({ text: "x", finishReason: "stop" })],
    ["log probabilities", piece({ text: "x", logprobs: {} })],
    ["a tool call", piece({ toolCalls: [{ index: 0, name: "f" }] })],
    ["a refusal", piece({ refusal: "x" })],
    ["text and reasoning in one", piece({ text: "x", reasoning: "y" })],
    ["tokens of a character that is not whole", piece({ tokenIds: [7] })],
    ["usage", { kind: "done" }],
    ["another choice", text("x", 1)],
    ["reasoning", piece({ reasoning: "x" })],
  ])("stay apart around %s", (_name, event) => {
    const events = [text("a"), event, text("b")];
    expect(coalesce(events)).toEqual(events);
  });

  it("stay small: no piece grows over 2,048 characters", () => {
    const events = Array.from({ length: 5 }, () => text("y".repeat(1_000)));
    const lengths = coalesce([...events, text("z".repeat(5_000)), text("a")]).map((event) =>
      event.kind === "delta" ? event.text?.length : null,
    );
    expect(lengths).toEqual([2_000, 2_000, 1_000, 5_000, 1]);
  });

  it("say what they said and count what they counted, whatever they are", () => {
    const someIds = fc.option(fc.array(fc.nat(), { minLength: 1, maxLength: 2 }), {
      nil: undefined,
    });
    const some = fc
      .record({
        choice: fc.nat({ max: 1 }),
        kind: fc.constantFrom("text", "reasoning", "refusal"),
        said: fc.string({ minLength: 1 }),
        ids: someIds,
      })
      .map(({ choice, ids, kind, said }) =>
        piece({ choice, [kind]: said, ...(ids === undefined ? {} : { tokenIds: ids }) }),
      );
    fc.assert(
      fc.property(fc.array(some), (events) => {
        const [whole, merged] = [heard(events), heard(coalesce(events))];
        expect(merged.map(({ said }) => said)).toEqual(whole.map(({ said }) => said));
        expect(merged.map(tokensOf)).toEqual(whole.map(tokensOf));
        const piecesOf = (choices: readonly ChoiceState[]): readonly number[] =>
          choices.map(({ pieceCount, surplusTokens }) => pieceCount + surplusTokens);
        expect(piecesOf(merged)).toEqual(piecesOf(whole));
        // What a cell that only has the frames must be told: all tokens, less one for each frame that it sees.
        const frames = merged.reduce((sum, { pieceCount }) => sum + pieceCount, 0);
        const tokens = merged.reduce((sum, choice) => sum + tokensOf(choice), 0);
        expect(surplusTokensOf(merged)).toBeGreaterThanOrEqual(tokens - frames);
      }),
    );
  });
});
