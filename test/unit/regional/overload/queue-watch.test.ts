import { describe, it } from "vitest";
import { watchQueue } from "#regional/overload/queue-watch.ts";
import type { SlotRequest } from "#regional/scheduler/scheduler.ts";
import { HandClock } from "#test/support/hand-clock.ts";
import { aSlotRequest } from "#test/support/scheduler-run.ts";

describe("the delay of a queue", () => {
  it("counts who waits for a slot, and not who waits for a shard to start", ({ expect }) => {
    const clock = new HandClock();
    const asked: SlotRequest[] = [];
    const watched = watchQueue(
      {
        acquire(request) {
          asked.push(request);
          return () => {};
        },
        elsewhere: () => ({ mayRetry: false }) as never,
        wake: () => {},
        waiting: () => new Map(),
        drain: () => {},
      },
      clock,
    );
    const told: number[] = [];
    watched.acquire(
      aSlotRequest({ onColdWait: (expectedMs) => void told.push(expectedMs) }),
      () => {},
    );
    clock.move(4_000);
    expect(watched.queueDelay()).toBe(2);
    asked[0]?.onColdWait?.(70_000);
    expect(told).toStrictEqual([70_000]);
    expect(watched.queueDelay()).toBe(0);
  });
});
