import { describe, it } from "vitest";
import { describeCell } from "#regional/scheduler/cell-snapshot.ts";
import type { ShardStatus } from "#regional/scheduler/shard-book.ts";
import type { LifecycleView } from "#shared/warming/shard-lifecycle.ts";

const ready: LifecycleView = { lifecycle: "ready", reason: "answers", readyInMs: 0 };
const cold: LifecycleView = { lifecycle: "cold", reason: "idle", readyInMs: 66_000 };

function aShard(id: string, changes: Partial<ShardStatus> = {}): ShardStatus {
  return {
    id,
    model: "m",
    breaker: "closed",
    weight: 1,
    inFlight: 4,
    concurrentRequestsMax: 10,
    isDraining: false,
    life: ready,
    ...changes,
  } as unknown as ShardStatus;
}

function describeShards(...shards: readonly ShardStatus[]) {
  return describeCell(shards, new Map(), false, 0);
}

describe("what a cell tells of its shards", () => {
  it("is their state, and in steps of five seconds when they are ready", ({ expect }) => {
    const { shards } = describeShards(
      aShard("a"),
      aShard("b", { life: cold, inFlight: 0 }),
      aShard("c", { life: { lifecycle: "draining", reason: "drained", readyInMs: null } }),
    );
    expect(shards.map(({ readyInSeconds, state }) => [state, readyInSeconds])).toStrictEqual([
      ["ready", null],
      ["cold", 70],
      ["draining", null],
    ]);
  });

  it("counts no load against shards that do not run, and no illness", ({ expect }) => {
    const { saturation, weight } = describeShards(
      aShard("a"),
      aShard("b", { life: cold, inFlight: 0 }),
    );
    expect({ saturation, weight }).toStrictEqual({ saturation: 0.4, weight: 1 });
  });

  it("leaves out what the region's plan does without", ({ expect }) => {
    const scaledDown = { lifecycle: "cold", reason: "scaledDown", readyInMs: null } as const;
    const { models, shards, weight } = describeShards(
      aShard("a"),
      aShard("b", { model: "n", life: scaledDown, inFlight: 0 }),
    );
    expect({ models, weight }).toStrictEqual({ models: ["m"], weight: 0.5 });
    expect(shards[1]).toMatchObject({ state: "cold", readyInSeconds: null, weight: 0 });
  });
});
