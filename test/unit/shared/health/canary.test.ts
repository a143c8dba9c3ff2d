import { describe, expect, it } from "vitest";
import {
  agreementOf,
  isQuarantined,
  newCanaryBoard,
  observeCanary,
} from "#shared/health/canary.ts";
import type { CanaryAnswer, CanaryBoard } from "#shared/health/canary.ts";

const right = ["one", " two", " three"];
const wrong = ["one", " seven"];

/** Answers in order: shard, prompt, answer. */
function asked(...answers: readonly (readonly [string, number, CanaryAnswer | null])[]) {
  let board: CanaryBoard = newCanaryBoard;
  const verdicts = answers.map(([shard, prompt, answer]) => {
    const step = observeCanary(board, shard, prompt, answer);
    ({ board } = step);
    return step.verdict;
  });
  return { board, verdicts };
}

describe("agreement of two answers", () => {
  it("is the share of the longer that both begin with", () => {
    expect(agreementOf([1, 2, 3, 4], [1, 2, 3, 4])).toBe(1);
    expect(agreementOf([1, 2, 3, 4], [1, 2, 9, 4])).toBe(0.5);
    expect(agreementOf([1, 2], [1, 2, 3, 4])).toBe(0.5);
    expect(agreementOf([], [])).toBe(0);
  });
});

describe("canaries", () => {
  it("say nothing of a shard that is alone", () => {
    expect(asked(["a", 0, right], ["a", 0, right]).verdicts).toStrictEqual(["unknown", "agrees"]);
  });

  it("find the one of three that answers otherwise, and quarantine it the second time", () => {
    const first = asked(["a", 0, right], ["b", 0, right], ["c", 0, wrong]);
    expect(first.verdicts).toStrictEqual(["unknown", "agrees", "disagrees"]);
    expect(isQuarantined(first.board, "c")).toBe(false);
    const again = observeCanary(first.board, "c", 0, wrong);
    expect(again.verdict).toBe("disagrees");
    expect(isQuarantined(again.board, "c")).toBe(true);
    expect(isQuarantined(again.board, "a")).toBe(false);
  });

  it("find the one of two that changes its mind", () => {
    const { board, verdicts } = asked(
      ["a", 0, right],
      ["b", 0, right],
      ["a", 0, wrong],
      ["b", 0, right],
      ["a", 0, wrong],
    );
    expect(verdicts.slice(2)).toStrictEqual(["disagrees", "agrees", "disagrees"]);
    expect(isQuarantined(board, "a")).toBe(true);
    expect(isQuarantined(board, "b")).toBe(false);
  });

  it("find both of two that go wrong one after the other, by what they agreed on before", () => {
    const other = [7, 7, 7, 7];
    const { board, verdicts } = asked(
      ["a", 0, right],
      ["b", 0, right],
      ["a", 0, wrong],
      ["b", 0, other],
      ["a", 0, wrong],
      ["b", 0, other],
    );
    expect(verdicts.slice(2)).toStrictEqual(["disagrees", "disagrees", "disagrees", "disagrees"]);
    expect([isQuarantined(board, "a"), isQuarantined(board, "b")]).toStrictEqual([true, true]);
  });

  it("cannot say which of two is right that never agreed", () => {
    const { board } = asked(["a", 0, right], ["b", 0, wrong], ["a", 0, right], ["b", 0, wrong]);
    expect([isQuarantined(board, "a"), isQuarantined(board, "b")]).toStrictEqual([false, false]);
  });

  it("let a shard back after two answers that agree", () => {
    const caught = asked(
      ["a", 0, right],
      ["b", 0, right],
      ["c", 0, wrong],
      ["c", 0, wrong],
      ["c", 0, right],
    );
    expect(isQuarantined(caught.board, "c")).toBe(true);
    expect(isQuarantined(observeCanary(caught.board, "c", 0, right).board, "c")).toBe(false);
  });

  it("follow a fleet whose answers change together", () => {
    const { board } = asked(
      ["a", 0, right],
      ["b", 0, right],
      ["a", 0, wrong],
      ["b", 0, wrong],
      ["a", 0, wrong],
      ["b", 0, wrong],
    );
    expect([isQuarantined(board, "a"), isQuarantined(board, "b")]).toStrictEqual([false, false]);
  });

  it("quarantine nobody for saying nothing: that is the breaker's matter", () => {
    const { board, verdicts } = asked(["a", 0, right], ["b", 0, null], ["b", 0, null]);
    expect(verdicts.slice(1)).toStrictEqual(["failed", "failed"]);
    expect(isQuarantined(board, "b")).toBe(false);
  });
});
