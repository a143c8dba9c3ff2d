import { describe, expect, it } from "vitest";
import { joinLogprobs } from "#shared/protocol/encoders/answer-state.ts";

describe("log probabilities of several pieces", () => {
  it("are null when there were none", () => {
    expect(joinLogprobs([])).toBeNull();
  });

  it("are joined list by list; of other values the last counts, null where there is no other", () => {
    const pieces = [
      { content: [1], refusal: null, top: null, note: "a" },
      { content: null, refusal: null, top: [2], note: "b" },
      { content: [3, 4], refusal: null },
      null,
    ];
    expect(joinLogprobs(pieces)).toEqual({
      content: [1, 3, 4],
      refusal: null,
      top: [2],
      note: "b",
    });
  });

  it("may be named like what objects inherit", () => {
    const piece = JSON.parse('{"__proto__": [1]}') as { readonly [key: string]: number[] };
    expect(JSON.stringify(joinLogprobs([piece, piece]))).toBe('{"__proto__":[1,1]}');
  });

  it("are not changed by being joined", () => {
    const piece = { content: [1] };
    joinLogprobs([piece, piece]);
    expect(piece).toEqual({ content: [1] });
  });

  it("are read once each, however many there are", () => {
    const pieces = Array.from({ length: 1_000 }, (_, at) => ({ content: [at] }));
    const { value: iterate } = Object.getOwnPropertyDescriptor(
      Array.prototype,
      Symbol.iterator,
    ) as {
      readonly value: (this: unknown[]) => ArrayIterator<unknown>;
    };
    let entries = 0;
    const setIterator = (value: (this: unknown[]) => ArrayIterator<unknown>) =>
      Object.defineProperty(Array.prototype, Symbol.iterator, { value });
    try {
      setIterator(function count(this: unknown[]) {
        entries += this.length;
        return iterate.call(this);
      });
      joinLogprobs(pieces);
    } finally {
      setIterator(iterate);
    }
    // The pieces, [key, value] of each, its list, and the one result.
    expect(entries).toBeLessThanOrEqual(5 * pieces.length);
  });
});
