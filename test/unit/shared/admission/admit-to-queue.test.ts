import { describe, it } from "vitest";
import { admitToQueue } from "#shared/admission/admit-to-queue.ts";
import type { QueueLoad } from "#shared/admission/admit-to-queue.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";

const policy = { ...defaultQueuePolicy, waitingPerModelMax: 2, waitingMax: 3 };
const turn = { priority: "interactive", deadlineMs: 10_000 } as const;

function load(changes: Partial<QueueLoad> = {}): QueueLoad {
  return {
    waitingForModel: 0,
    waiting: 0,
    canDisplace: false,
    isRoom: false,
    foresee: () => ({ kind: "worthwhile", reason: "inTime", waitMs: 0 }),
    ...changes,
  };
}

describe("the queue's admission", () => {
  it("lets a turn wait as long as its class, and never past its deadline", ({ expect }) => {
    expect(admitToQueue(turn, load(), 0, policy)).toEqual({
      kind: "wait",
      reason: "roomLeft",
      expiresAtMs: 3_000,
    });
    const soon = admitToQueue({ ...turn, deadlineMs: 500 }, load(), 0, policy);
    expect(soon).toMatchObject({ expiresAtMs: 500 });
    const batch = admitToQueue({ priority: "batch", deadlineMs: 1e6 }, load(), 0, policy);
    expect(batch).toMatchObject({ expiresAtMs: 30_000 });
  });

  it("refuses a turn whose deadline has come", ({ expect }) => {
    const late = admitToQueue({ ...turn, deadlineMs: 7 }, load({ canDisplace: true }), 7, policy);
    expect(late).toMatchObject({ kind: "refuse", reason: "deadlinePassed" });
  });

  it("holds exactly as many turns as allowed, for a model and in all", ({ expect }) => {
    const reasonAt = (waitingForModel: number, waiting: number): string =>
      admitToQueue(turn, load({ waitingForModel, waiting }), 0, policy).reason;
    expect([reasonAt(1, 2), reasonAt(2, 2), reasonAt(0, 3)]).toEqual([
      "roomLeft",
      "modelQueueFull",
      "cellQueueFull",
    ]);
  });

  it("admits nobody to a queue of no places", ({ expect }) => {
    const none = { ...policy, waitingPerModelMax: 0 };
    expect(admitToQueue(turn, load(), 0, none).kind).toBe("refuse");
  });

  it("takes a turn into a full queue when another one gives way", ({ expect }) => {
    const full = load({ waitingForModel: 2, waiting: 2, canDisplace: true });
    expect(admitToQueue(turn, full, 0, policy)).toMatchObject({
      kind: "wait",
      reason: "displaces",
    });
  });

  it("refuses what is foreseen to come too late, and for that reason", ({ expect }) => {
    for (const reason of ["deadlineTooShort", "predictedLate", "waitTooLong"] as const) {
      const foresee = () => ({ kind: "refuse", reason, waitMs: 1 }) as const;
      expect(admitToQueue(turn, load({ foresee }), 0, policy)).toEqual({ kind: "refuse", reason });
    }
  });

  it("foresees nothing for a full queue, nor before the first shard is there", ({ expect }) => {
    const foresee = () => {
      throw new Error("was asked");
    };
    const full = load({ waitingForModel: 2, foresee });
    expect(admitToQueue(turn, full, 0, policy).reason).toBe("modelQueueFull");
    const room = admitToQueue(
      { ...turn, deadlineMs: 1e6 },
      load({ isRoom: true, foresee }),
      0,
      policy,
    );
    expect(room).toMatchObject({ kind: "wait", expiresAtMs: 20_000 });
  });
});
