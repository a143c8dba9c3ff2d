import { describe, it } from "vitest";
import { foreseeFinish, foreseeWaitMs, loadShareAt } from "#shared/admission/foresee-finish.ts";
import type { FinishInput } from "#shared/admission/foresee-finish.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";

const { waitMsMax } = defaultQueuePolicy;

function input(changes: Partial<FinishInput> = {}): FinishInput {
  return {
    workBeforeTokens: 2_000,
    drainTokensPerSecond: 1_000,
    predicted: { ttftSeconds: 0.5, interTokenSeconds: 0.02, outputTokens: 101 },
    ...changes,
  };
}

function decide(deadlineMs: number, given = input()) {
  return foreseeFinish({ priority: "standard", deadlineMs }, given, 0, waitMsMax);
}

describe("the foreseen end of a turn", () => {
  it("is wait, first token and answer: refused one millisecond too late, not before", ({
    expect,
  }) => {
    expect(decide(4_500)).toEqual({ kind: "worthwhile", reason: "inTime", waitMs: 2_000 });
    expect(decide(4_499)).toMatchObject({ kind: "refuse", reason: "predictedLate" });
  });

  it("refuses nobody who need not wait for the length of an answer that nobody knows", ({
    expect,
  }) => {
    const free = input({ workBeforeTokens: 0 });
    expect(decide(501, free)).toMatchObject({ kind: "worthwhile" });
    expect(decide(499, free)).toMatchObject({ kind: "refuse", reason: "deadlineTooShort" });
  });

  it("refuses who would wait for much longer than its class may", ({ expect }) => {
    const none = { predicted: null };
    expect(decide(1e9, input({ ...none, workBeforeTokens: 12_000 })).kind).toBe("worthwhile");
    expect(decide(1e9, input({ ...none, workBeforeTokens: 12_001 }))).toMatchObject({
      kind: "refuse",
      reason: "waitTooLong",
      waitMs: 12_001,
    });
  });

  it("refuses nobody on a guess, when no rate is known", ({ expect }) => {
    expect(decide(1e9, input({ predicted: null, drainTokensPerSecond: 0 })).kind).toBe(
      "worthwhile",
    );
    expect([foreseeWaitMs(5, Number.NaN), foreseeWaitMs(Number.NaN, 5)]).toEqual([0, 0]);
  });
});

describe("the load at the end of a prefill", () => {
  it("is without the turns that will have ended, and with those that will have begun", ({
    expect,
  }) => {
    const ends = [100, 200, 300, 400];
    expect(loadShareAt(ends, 0, 0)).toBe(1);
    expect(loadShareAt(ends, 0, 250)).toBe(0.5);
    expect(loadShareAt(ends, 1, 250)).toBe(0.75);
    expect(loadShareAt(ends, 9, 250)).toBe(1);
    expect(loadShareAt(ends, 0, 400)).toBe(0);
    expect(loadShareAt([], 3, 0)).toBe(0);
  });
});
