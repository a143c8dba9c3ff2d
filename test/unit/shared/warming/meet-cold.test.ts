import { describe, it } from "vitest";
import { meetCold } from "#shared/warming/meet-cold.ts";

const nowMs = 1_000_000;
const meeting = {
  readyInMs: 20_000,
  deadlineMs: nowMs + 120_000,
  mayMove: true,
  hasWarmNeighbour: false,
};

describe("a prompt that finds only cold shards", () => {
  it("goes to another cell that has a running one", ({ expect }) => {
    expect(meetCold({ ...meeting, hasWarmNeighbour: true }, nowMs)).toStrictEqual({
      kind: "move",
      reason: "coldElsewhere",
      retryAfterMs: 20_000,
    });
  });

  it("waits when it was passed on already, whatever the neighbours have", ({ expect }) => {
    const decision = meetCold({ ...meeting, hasWarmNeighbour: true, mayMove: false }, nowMs);
    expect(decision.kind).toBe("wait");
  });

  it("waits for three times the expected start, within its deadline", ({ expect }) => {
    expect(meetCold(meeting, nowMs)).toStrictEqual({
      kind: "wait",
      reason: "coldStart",
      expiresAtMs: nowMs + 60_000,
    });
    const soon = { ...meeting, deadlineMs: nowMs + 30_000 };
    expect(meetCold(soon, nowMs)).toMatchObject({ expiresAtMs: nowMs + 30_000 });
  });

  it("waits for a short start at least ten seconds", ({ expect }) => {
    expect(meetCold({ ...meeting, readyInMs: 100 }, nowMs)).toMatchObject({
      expiresAtMs: nowMs + 10_000,
    });
  });

  it("is refused when the start is expected after its deadline, and told when to come back", ({
    expect,
  }) => {
    const late = { ...meeting, readyInMs: 120_001 };
    expect(meetCold(late, nowMs)).toStrictEqual({
      kind: "refuse",
      reason: "coldTooLong",
      retryAfterMs: 121_000,
    });
  });
});
