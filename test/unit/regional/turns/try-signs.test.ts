import { expect, it } from "vitest";
import { hasBroken, tokensSaid } from "#regional/turns/try-signs.ts";
import { withDelta } from "#shared/conversation/answer-so-far.ts";

it("suspects a prompt only of a shard that broke off inside its answer, not of an outage", () => {
  expect(hasBroken({ kind: "failed", failure: { reason: "cut" } })).toBe(true);
  expect(hasBroken({ kind: "failed", failure: { reason: "unreachable" } })).toBe(false);
  expect(hasBroken({ kind: "failed", failure: { reason: "serverError", status: 500 } })).toBe(
    false,
  );
  expect(hasBroken({ kind: "aborted" })).toBe(false);
  expect(hasBroken({ kind: "succeeded" })).toBe(false);
});

it("takes an answer's tokens where they are named, else its words", () => {
  const named = withDelta([], { kind: "delta", choice: 0, text: "a b", tokenIds: [5, 6] });
  expect(tokensSaid(named)).toStrictEqual([5, 6]);
  expect(tokensSaid(withDelta([], { kind: "delta", choice: 0, text: "a b" }))).toStrictEqual([
    "a",
    "b",
  ]);
  expect(tokensSaid([])).toStrictEqual([]);
});
