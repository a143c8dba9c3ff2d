import { describe, it } from "vitest";
import { canaryOf, isCanaryFit } from "#shared/health/canary-turn.ts";
import type { CanarySubject } from "#shared/health/canary-turn.ts";

const idle: CanarySubject = { breaker: "closed", isAlive: true, isDraining: false, saturation: 0 };

describe("whose turn it is for a canary", () => {
  it("is one shard after the other, with one prompt to a round", ({ expect }) => {
    const asked = [0, 1, 2, 3, 4].map((turn) => canaryOf(["a", "b"], turn, 2));
    expect(asked.map((one) => one?.shard)).toStrictEqual(["a", "b", "a", "b", "a"]);
    expect(asked.map((one) => one?.prompt)).toStrictEqual([0, 0, 1, 1, 0]);
    expect(canaryOf([], 3, 2)).toBeNull();
  });

  const unfit: readonly (readonly [string, Partial<CanarySubject>])[] = [
    ["whose breaker is half open", { breaker: "halfOpen" }],
    ["that is gone and open", { breaker: "open", isAlive: false }],
    ["that is drained", { isDraining: true }],
    ["that is four fifths full", { saturation: 0.8 }],
  ];
  for (const [what, change] of unfit)
    it(`is never that of a shard ${what}`, ({ expect }) => {
      expect(isCanaryFit({ ...idle, ...change })).toBe(false);
    });

  it("may be that of one that is open and lives, and of one almost so full", ({ expect }) => {
    expect(isCanaryFit({ ...idle, breaker: "open" })).toBe(true);
    expect(isCanaryFit({ ...idle, saturation: 0.79 })).toBe(true);
  });
});
