import { describe, it } from "vitest";
import { priorities } from "#shared/config/topology.ts";
import { admitAtLevel } from "#shared/overload/admit-at-level.ts";
import type { LevelLoad } from "#shared/overload/admit-at-level.ts";
import { defaultDegradePolicy } from "#shared/overload/degrade-policy.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { aTurn } from "./a-turn.ts";

const busy: LevelLoad = {
  level: 3,
  saturation: 0.98,
  queueDelay: 1.2,
  hasCapacity: true,
  isWithinShare: false,
  hasOtherCell: true,
};

function reasonOf(turn: TurnRequest, load: Partial<LevelLoad> = {}, drawn = 0.5): string | null {
  const { reason } =
    admitAtLevel(turn, { ...busy, ...load }, () => drawn, defaultDegradePolicy) ?? {};
  return reason ?? null;
}

const laterTurn = {
  messages: [
    { role: "user", content: "hi" },
    { role: "assistant", content: "hello" },
    { role: "user", content: "more" },
  ],
};

describe("a cell at a level", () => {
  it("takes every class below 3", ({ expect }) => {
    for (const level of [0, 1, 2] as const) {
      for (const priority of priorities) {
        expect(reasonOf(aTurn({ priority }), { level })).toBeNull();
      }
    }
  });

  it("refuses at 3 batch and new standard conversations, and sends new interactive ones elsewhere", ({
    expect,
  }) => {
    expect(priorities.map((priority) => reasonOf(aTurn({ priority })))).toEqual([
      null,
      "overflow",
      "newRefused",
      "batchRejected",
    ]);
  });

  it("goes on with conversations at 3 that it refuses to begin", ({ expect }) => {
    for (const priority of ["interactive", "standard"] as const) {
      expect(reasonOf(aTurn({ priority }, laterTurn))).toBeNull();
      const affinity = { homeShard: "c/s" as never, key: "k" };
      expect(reasonOf(aTurn({ priority, affinity }))).toBeNull();
    }
    expect(reasonOf(aTurn({ priority: "batch" }, laterTurn))).toBe("batchRejected");
  });

  it("keeps an interactive conversation that no other cell could take, or that one has passed on", ({
    expect,
  }) => {
    expect(reasonOf(aTurn({ priority: "interactive" }), { hasOtherCell: false })).toBeNull();
    expect(reasonOf(aTurn({ priority: "interactive", hop: 1 }))).toBeNull();
    expect(reasonOf(aTurn({ priority: "standard", hop: 1 }))).toBe("newRefused");
  });

  it("takes what it has room for while the level lasts", ({ expect }) => {
    const calm = { saturation: 0.6, queueDelay: 0 };
    expect(reasonOf(aTurn(), calm)).toBeNull();
    expect(reasonOf(aTurn({ priority: "interactive" }), calm)).toBeNull();
    expect(reasonOf(aTurn({ priority: "batch" }), calm)).toBe("batchRejected");
    expect(reasonOf(aTurn({ priority: "batch" }), { ...calm, saturation: 0.5 })).toBeNull();
    expect(reasonOf(aTurn(), { ...calm, queueDelay: 0.4 })).toBe("newRefused");
  });

  it("takes at 3 and 4 whoever asks for no more than its fair share while others ask for more", ({
    expect,
  }) => {
    for (const level of [3, 4] as const) {
      for (const priority of priorities) {
        expect(reasonOf(aTurn({ priority }), { level, isWithinShare: true })).toBeNull();
      }
    }
  });

  it("takes at 4 the critical class alone, later turns included", ({ expect }) => {
    const four = { level: 4, saturation: 0.65, queueDelay: 0 } as const;
    expect(priorities.map((priority) => reasonOf(aTurn({ priority }, laterTurn), four))).toEqual([
      null,
      "onlyCritical",
      "onlyCritical",
      "onlyCritical",
    ]);
  });

  it("takes at 4 the others too while much of the cell is idle, batch last", ({ expect }) => {
    const at = (saturation: number, queueDelay = 0) =>
      priorities.map((priority) =>
        reasonOf(aTurn({ priority }), { level: 4, saturation, queueDelay }),
      );
    expect(at(0.4)).toEqual([null, null, null, null]);
    expect(at(0.55)).toEqual([null, null, null, "onlyCritical"]);
    expect(at(0.4, 0.3)).toEqual([null, "onlyCritical", "onlyCritical", "onlyCritical"]);
  });

  it("never refuses a begun answer", ({ expect }) => {
    const resume = { frames: "x", toSeq: 1, surplusTokens: 0, continuations: 1 };
    for (const priority of priorities) {
      expect(reasonOf(aTurn({ priority, resume }), { level: 4 })).toBeNull();
    }
  });

  it("leaves it to the scheduler to say that there is no capacity at all", ({ expect }) => {
    expect(reasonOf(aTurn({ priority: "batch" }), { level: 4, hasCapacity: false })).toBeNull();
  });

  it("tells a wait that is spread and that clients obey", ({ expect }) => {
    const waits = [0, 0.999].map(
      (drawn) =>
        admitAtLevel(aTurn({ priority: "batch" }), busy, () => drawn, defaultDegradePolicy)?.error
          .retryAfterMs ?? 0,
    );
    expect(waits[0]).toBe(22_500);
    expect(waits[1]).toBeGreaterThan(40_000);
    expect(waits[1]).toBeLessThanOrEqual(60_000);
  });
});
