import { describe, expect, it } from "vitest";
import { judge, levelSecondsMax, shardsSecondsMax } from "#dev/drill/judge/checks.ts";
import type { Evidence } from "#dev/drill/judge/checks.ts";
import { createTimeline } from "#dev/drill/judge/timeline.ts";

const phases = { baseline: 0, fault: 10, recovery: 20, end: 35 };

/** A drill of the flows `own` and `other` in which nothing was wrong, but for what `changes` says. */
function evidence(
  changes: Partial<Evidence> = {},
  good: (flow: string, second: number) => number = () => 20,
): Evidence {
  const timeline = createTimeline(["own", "other"]);
  for (const flow of ["own", "other"]) {
    for (let second = 0; second < phases.end; second += 1) {
      for (let index = 0; index < 20; index += 1) {
        timeline.sent(flow, second);
        const code = index < good(flow, second) ? "ok" : "saturated";
        timeline.ended({ flow, sentSecond: second, code, ttftMs: 50 });
      }
    }
  }
  return {
    timeline,
    phases,
    expectations: [{ flow: "other", shareMin: 0.95 }],
    recovering: ["own"],
    end: {
      levels: { a: 0, b: 0 },
      unusedShards: {},
      restartedParts: [],
      shardsSeconds: 3,
      levelSeconds: 3,
      highestLevel: 0,
    },
    foreignAnswers: [],
    abortReason: null,
    ...changes,
  };
}

function failures(given: Evidence): readonly string[] {
  return judge(given).flatMap(({ isOk, name, seen }) => (isOk ? [] : [`${name}: ${seen}`]));
}

function endState(changes: Partial<Evidence["end"]>): Partial<Evidence> {
  return { end: { ...evidence().end, ...changes } };
}

describe("the checks of a drill", () => {
  it("hold when nothing was wrong", () => {
    expect(failures(evidence())).toEqual([]);
    expect(judge(evidence()).length).toBeGreaterThan(8);
  });

  it("count failed prompts where none may fail, and no late ones", () => {
    const expectations = [{ flow: "other", shareMin: 0.5, failuresMax: 0 }];
    expect(failures(evidence({ expectations }))).toEqual([]);
    const one = evidence({ expectations }, (flow, second) =>
      flow === "other" && second === 12 ? 19 : 20,
    );
    expect(failures(one)).toEqual(["other has no failed prompts meanwhile: saturated 1"]);
    const late = evidence({ expectations });
    late.timeline.sent("other", 12);
    late.timeline.ended({ flow: "other", sentSecond: 12, code: "late", ttftMs: 9_000 });
    expect(failures(late)).toEqual([]);
  });

  it("fail when it was aborted", () => {
    expect(failures(evidence({ abortReason: "the supervisor died" }))).toEqual([
      "the drill was not aborted: the supervisor died",
    ]);
  });

  it("fail when another jurisdiction answered", () => {
    expect(failures(evidence({ foreignAnswers: ["own was answered by us/1"] }))).toEqual([
      "no answer came from another jurisdiction: own was answered by us/1",
    ]);
  });

  it("fail when the system was ill before the fault", () => {
    const ill = evidence({}, (flow, second) => (flow === "other" && second < 10 ? 18 : 20));
    expect(failures(ill)).toEqual(["other was well before the fault: 90.0 % of 200"]);
  });

  it("fail when somebody else suffers from the fault", () => {
    const hurt = (good: number) =>
      evidence({}, (flow, second) => (flow === "other" && second >= 10 && second < 20 ? good : 20));
    expect(failures(hurt(19))).toEqual([]);
    expect(failures(hurt(18))).toEqual([
      "other keeps 95.0 % of its goodput during the fault: 90.0 % of the baseline, 180 good of 200",
    ]);
  });

  it("fail when goodput does not come back", () => {
    const lost = evidence({}, (flow, second) => (flow === "own" && second >= 10 ? 10 : 20));
    expect(failures(lost)).toEqual([
      "own is back to 95.0 % within 60 s of the fault's end: never for 10 s in the 15 s watched",
    ]);
  });

  it("fail when a cell stays degraded, or tells no level that others tell", () => {
    expect(failures(evidence(endState({ levels: { a: 1, b: 0 } })))).toEqual([
      "every cell is at level 0 at the end: a 1, b 0",
    ]);
    expect(failures(evidence(endState({ levels: { a: null, b: 0 } })))).toEqual([
      "every cell is at level 0 at the end: a tells none, b 0",
    ]);
  });

  it("take a metric that no cell has for level 0, and say so", () => {
    const given = evidence(endState({ levels: { a: null, b: null } }));
    expect(failures(given)).toEqual([]);
    expect(judge(given).map(({ seen }) => seen)).toContain(
      "no cell has the metric meridian_overload_level: taken as 0",
    );
  });

  it("fail when a shard stays out of use", () => {
    expect(
      failures(evidence(endState({ unusedShards: { x: "is active, its breaker is open" } }))),
    ).toEqual(["every shard is in use at the end: x is active, its breaker is open"]);
  });

  it("fail when a shard comes back late or never", () => {
    // A fault of 10 s: 15 s open at most, a fifth more by chance.
    expect(failures(evidence(endState({ shardsSeconds: 78 })))).toEqual([]);
    expect(failures(evidence(endState({ shardsSeconds: 79 })))).toEqual([
      "every shard is in use again within 78 s, what its breaker takes after a fault of 10 s: after 79 s",
    ]);
    expect(shardsSecondsMax(600)).toBe(60 + 144);
    expect(failures(evidence(endState({ shardsSeconds: null })))).toHaveLength(1);
  });

  it("give levels the time that the policy takes to leave them, and no more", () => {
    expect(failures(evidence(endState({ levelSeconds: 61 })))).toHaveLength(1);
    const raised = { highestLevel: 2 };
    expect(failures(evidence(endState({ ...raised, levelSeconds: 210 })))).toEqual([]);
    expect(failures(evidence(endState({ ...raised, levelSeconds: 211 })))).toEqual([
      "every cell is back at level 0 within 210 s, what its policy takes from level 2: after 211 s",
    ]);
    expect(failures(evidence(endState({ ...raised, levelSeconds: null })))).toHaveLength(1);
    expect(levelSecondsMax(4)).toBe(60 + 60 + 90 + 120 + 180);
  });

  it("fail when a process died that nobody killed", () => {
    expect(failures(evidence(endState({ restartedParts: ["eu-west-1a"] })))).toEqual([
      "no other process died: eu-west-1a",
    ]);
  });
});
