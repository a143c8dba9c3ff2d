import { describe, it } from "vitest";
import { classCeiling, defaultCeilingPolicy } from "#shared/admission/class-ceiling.ts";
import { priorities } from "#shared/config/topology.ts";

function ceilings(isAboveWaiting: boolean, isOverloaded: boolean): readonly number[] {
  const input = { isAboveWaiting, isOverloaded };
  return priorities.map((priority) => classCeiling(priority, input, defaultCeilingPolicy));
}

describe("the ceiling of a class", () => {
  it("is its own, and that of the class above only while nobody above waits and no overload lasts", ({
    expect,
  }) => {
    expect(ceilings(false, false)).toEqual([1, 1, 0.9, 0.75]);
    for (const [isAboveWaiting, isOverloaded] of [
      [true, false],
      [false, true],
      [true, true],
    ] as const) {
      expect(ceilings(isAboveWaiting, isOverloaded)).toEqual([1, 0.9, 0.75, 0.55]);
    }
  });
});
