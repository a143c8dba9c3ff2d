import { describe, it } from "vitest";
import type { ShardId } from "#shared/residency/brands.ts";
import { planWarming } from "#shared/warming/plan-warming.ts";
import type { WarmableShard, WarmingDemand } from "#shared/warming/plan-warming.ts";

const nothing = { critical: 0, interactive: 0, standard: 0, batch: 0 };
const calm: WarmingDemand = { quota: nothing, preload: 0, waiting: 0 };

function aShard(id: string, changes: Partial<WarmableShard> = {}): WarmableShard {
  return {
    id: id as ShardId,
    purchase: "on-demand",
    lifecycle: "cold",
    hasFailedToStart: false,
    coldStartMs: 70_000,
    scaleToZeroMs: 300_000,
    idleMs: 0,
    slots: 8,
    ...changes,
  };
}

function keeping(changes: Partial<Record<"critical" | "interactive" | "batch", number>>) {
  return { ...calm, quota: { ...nothing, ...changes } };
}

/** What is asked, as `shard reason`. */
function plan(shards: readonly WarmableShard[], demand: WarmingDemand): readonly string[] {
  return planWarming(shards, demand).map(({ reason, shard }) => `${shard} ${reason}`);
}

describe("the warming of a model's shards", () => {
  it("asks nobody where nothing is wanted", ({ expect }) => {
    const shards = [aShard("a"), aShard("b", { lifecycle: "ready", idleMs: 290_000 })];
    expect(plan(shards, calm)).toStrictEqual([]);
  });

  it("starts as many as the minimum says, the quickest first", ({ expect }) => {
    const shards = [aShard("a"), aShard("b", { coldStartMs: 20_000 }), aShard("c")];
    expect(plan(shards, keeping({ interactive: 1 }))).toStrictEqual(["b minimum"]);
    expect(plan(shards, keeping({ critical: 2 }))).toStrictEqual(["a minimum", "b minimum"]);
  });

  it("keeps what runs rather than starting another, and asks it before its platform takes it down", ({
    expect,
  }) => {
    const running = (idleMs: number) => [aShard("a"), aShard("b", { lifecycle: "ready", idleMs })];
    expect(plan(running(179_000), keeping({ interactive: 1 }))).toStrictEqual([]);
    expect(plan(running(180_000), keeping({ interactive: 1 }))).toStrictEqual(["b idle"]);
  });

  it("pays for none while one runs that no platform takes down", ({ expect }) => {
    const shards = [
      aShard("a", { lifecycle: "ready", idleMs: 200_000 }),
      aShard("b", { lifecycle: "ready", scaleToZeroMs: null, idleMs: 1e9 }),
    ];
    expect(plan(shards, keeping({ interactive: 1 }))).toStrictEqual([]);
  });

  it("relies on no spot shard for critical and interactive prompts, and may for batch", ({
    expect,
  }) => {
    const shards = [aShard("a", { lifecycle: "ready", purchase: "spot" }), aShard("b")];
    expect(plan(shards, keeping({ critical: 1 }))).toStrictEqual(["b minimum"]);
    expect(plan(shards, keeping({ batch: 1 }))).toStrictEqual([]);
  });

  it("takes the next one where one is drained or ill", ({ expect }) => {
    const shards = [
      aShard("a", { lifecycle: "draining" }),
      aShard("b", { lifecycle: "failed" }),
      aShard("c"),
    ];
    expect(plan(shards, keeping({ interactive: 1 }))).toStrictEqual(["c minimum"]);
  });

  it("goes on asking one that starts, and one whose start took too long", ({ expect }) => {
    const shards = [
      aShard("a", { lifecycle: "warming" }),
      aShard("b", { lifecycle: "failed", hasFailedToStart: true }),
      aShard("c", { lifecycle: "failed" }),
    ];
    expect(plan(shards, calm)).toStrictEqual(["a starting", "b failedStart"]);
  });

  it("starts one for prompts that wait, and more when they are more than it takes", ({
    expect,
  }) => {
    const shards = [aShard("a"), aShard("b"), aShard("c")];
    expect(plan(shards, { ...calm, waiting: 8 })).toStrictEqual(["a demand"]);
    expect(plan(shards, { ...calm, waiting: 9 })).toStrictEqual(["a demand", "b demand"]);
  });

  it("starts one for prompts that wait though another runs: that is full", ({ expect }) => {
    const shards = [aShard("a", { lifecycle: "ready" }), aShard("b")];
    expect(plan(shards, { ...calm, waiting: 1 })).toStrictEqual(["b demand"]);
  });

  it("starts none for prompts that one on its way will take", ({ expect }) => {
    const shards = [aShard("a", { lifecycle: "warming" }), aShard("b")];
    expect(plan(shards, { ...calm, waiting: 8 })).toStrictEqual(["a starting"]);
  });

  it("starts what a forecast wants beyond the minimum", ({ expect }) => {
    const shards = [aShard("a", { lifecycle: "ready" }), aShard("b"), aShard("c")];
    const demand = { ...keeping({ interactive: 1 }), preload: 2 };
    expect(plan(shards, demand)).toStrictEqual(["b preload"]);
  });
});
