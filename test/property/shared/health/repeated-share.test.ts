import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { repeatedShareOf } from "#shared/health/answer-quality.ts";

const tokens = fc.oneof(
  fc.array(fc.nat({ max: 5 }), { maxLength: 200 }),
  fc.array(fc.constantFrom("a", "b", "ab", ""), { maxLength: 200 }),
  fc.array(fc.nat(), { minLength: 2_000, maxLength: 2_400 }),
);

describe("the share of an answer that it had before", () => {
  it("counts every run of four of the last 2,048 tokens once", () => {
    fc.assert(
      fc.property(tokens, (all) => {
        const last = all.slice(-2_048);
        const runs = last.slice(3).map((_token, at) => JSON.stringify(last.slice(at, at + 4)));
        const share = runs.length < 16 ? 0 : 1 - new Set(runs).size / runs.length;
        expect(repeatedShareOf(all)).toBe(share);
      }),
    );
  });
});
