import { describe, expect, test } from "vitest";
import { nextRestart } from "#dev/supervisor/restart-policy.ts";

const nowMs = 1_000_000;
const crashes = (count: number): readonly number[] =>
  Array.from({ length: count }, (_, index) => nowMs - index * 10);

describe("restart of a crashed part", () => {
  test.each([
    [1, 200],
    [2, 400],
    [5, 3_200],
    [6, 5_000],
    [9, 5_000],
  ])("after crash %i of a minute waits %i ms", (count, delayMs) => {
    expect(nextRestart(crashes(count), nowMs)).toStrictEqual({ kind: "restart", delayMs });
  });

  test("ends with the tenth crash of a minute", () => {
    expect(nextRestart(crashes(10), nowMs)).toStrictEqual({ kind: "give-up", crashes: 10 });
  });

  test("forgets crashes that are a minute old", () => {
    const old = Array.from({ length: 20 }, () => nowMs - 60_000);
    const step = nextRestart([...old, nowMs], nowMs);
    expect(step).toStrictEqual({ kind: "restart", delayMs: 200 });
  });
});
