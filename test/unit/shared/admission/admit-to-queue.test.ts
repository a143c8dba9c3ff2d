import fc from "fast-check";
import { describe, it } from "vitest";
import { admitToQueue } from "#shared/admission/admit-to-queue.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";

const policy = { ...defaultQueuePolicy, waitingPerModelMax: 2, waitingMax: 3 };
const empty = { waitingForModel: 0, waiting: 0, runningOfModel: 1 };
const turn = { priority: "interactive", deadlineMs: 10_000 } as const;
const half = () => 0.5;

describe("the queue's admission", () => {
  it("lets a turn wait as long as its class, and never past its deadline", ({ expect }) => {
    expect(admitToQueue(turn, empty, 0, half, policy)).toEqual({
      kind: "wait",
      reason: "roomLeft",
      expiresAtMs: 3_000,
    });
    const soon = admitToQueue({ ...turn, deadlineMs: 500 }, empty, 0, half, policy);
    expect(soon).toMatchObject({ expiresAtMs: 500 });
  });

  it("refuses a turn whose deadline has come", ({ expect }) => {
    const late = admitToQueue({ ...turn, deadlineMs: 7 }, empty, 7, half, policy);
    expect(late).toMatchObject({ kind: "refuse", reason: "deadlinePassed" });
  });

  it("holds exactly as many turns as allowed, for a model and in all", ({ expect }) => {
    const last = admitToQueue(turn, { ...empty, waitingForModel: 1, waiting: 2 }, 0, half, policy);
    expect(last.kind).toBe("wait");
    const model = admitToQueue(turn, { ...empty, waitingForModel: 2, waiting: 2 }, 0, half, policy);
    expect(model).toMatchObject({ kind: "refuse", reason: "modelQueueFull" });
    const cell = admitToQueue(turn, { ...empty, waitingForModel: 0, waiting: 3 }, 0, half, policy);
    expect(cell).toMatchObject({ kind: "refuse", reason: "cellQueueFull" });
  });

  it("admits nobody to a queue of no places", ({ expect }) => {
    const none = { ...policy, waitingPerModelMax: 0 };
    expect(admitToQueue(turn, empty, 0, half, none).kind).toBe("refuse");
  });

  it("promises waits within (0, 60 s], longer ones for longer queues", ({ expect }) => {
    const waitOf = (waitingForModel: number, random: () => number): number => {
      const load = { waitingForModel, waiting: waitingForModel, runningOfModel: 8 };
      const decision = admitToQueue(turn, load, 0, random, policy);
      return decision.kind === "refuse" ? decision.retryAfterMs : 0;
    };
    expect(waitOf(200, half)).toBeGreaterThan(waitOf(4, half));
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 1e6 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (waiting, r) => {
          const waitMs = waitOf(waiting, () => r);
          return waitMs > 0 && waitMs <= 60_000;
        },
      ),
    );
  });
});
