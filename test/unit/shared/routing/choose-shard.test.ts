import { describe, it } from "vitest";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { chooseShard, defaultChooseShardPolicy } from "#shared/routing/choose-shard.ts";
import type { ChooseShardInput, ShardView } from "#shared/routing/choose-shard.ts";

const model = "llama";
const eu = "eu" as Jurisdiction;
const shardA = "eu-west-1a/llama-0" as ShardId;
const shardB = "eu-west-1a/llama-1" as ShardId;
const shardC = "eu-west-1a/llama-2" as ShardId;
const none = (): number => 0;

function aShard(id: ShardId, overrides: Partial<ShardView> = {}): ShardView {
  return {
    id,
    model,
    revision: "r1",
    jurisdiction: eu,
    concurrentRequestsMax: 4,
    inFlight: 0,
    isDraining: false,
    isAdmitting: true,
    weight: 1,
    ...overrides,
  };
}

function anInput(
  candidates: readonly ShardView[],
  overrides: Partial<ChooseShardInput> = {},
): ChooseShardInput {
  return {
    candidates,
    jurisdiction: eu,
    model,
    homeShard: null,
    affinityKey: "tenant|prefix",
    excluded: [],
    priority: "interactive",
    ...overrides,
  };
}

const choose = (
  candidates: readonly ShardView[],
  overrides: Partial<ChooseShardInput> = {},
  random = none,
) => chooseShard(anInput(candidates, overrides), random, defaultChooseShardPolicy);

const three = [aShard(shardA), aShard(shardB), aShard(shardC)];

describe("chooseShard", () => {
  it("keeps the home shard while it has room, however loaded it is", ({ expect }) => {
    const candidates = [aShard(shardA, { inFlight: 3 }), aShard(shardB), aShard(shardC)];
    expect(choose(candidates, { homeShard: shardA })).toMatchObject({
      kind: "chosen",
      shard: shardA,
      reason: "home",
      rejected: [],
    });
  });

  it("keeps a home shard that has just recovered, whatever its weight", ({ expect }) => {
    const candidates = [aShard(shardA, { weight: 0.1 }), aShard(shardB), aShard(shardC)];
    expect(choose(candidates, { homeShard: shardA })).toMatchObject({ reason: "home" });
  });

  it("spills to the next shard by rendezvous when the home is full, and says why", ({ expect }) => {
    const candidates = [aShard(shardA, { inFlight: 4 }), aShard(shardB), aShard(shardC)];
    const choice = choose(candidates, { homeShard: shardA });
    expect(choice).toMatchObject({
      kind: "chosen",
      reason: "spill",
      rejected: [{ id: shardA, reason: "full" }],
    });
    expect(choice).toEqual(choose(candidates, { homeShard: shardA }));
  });

  it("spills when the home is not among the candidates", ({ expect }) => {
    const gone = "eu-west-1a/llama-9" as ShardId;
    expect(choose(three, { homeShard: gone })).toMatchObject({ kind: "chosen", reason: "spill" });
  });

  it("chooses one shard for one key, and follows its order of successors as they fill", ({
    expect,
  }) => {
    const first = choose(three);
    if (first.kind === "none") throw new Error("a shard is free");
    expect(first.reason).toBe("rendezvous");
    const filled = three.map((view) =>
      view.id === first.shard ? aShard(view.id, { inFlight: 4 }) : view,
    );
    const second = choose(filled);
    expect(second).toMatchObject({ kind: "chosen", shard: first.runnersUp[0] });
  });

  it("uses all shards over many keys", ({ expect }) => {
    const used = new Set<string>();
    for (let index = 0; index < 100; index += 1) {
      const choice = choose(three, { affinityKey: `key ${index}` });
      if (choice.kind === "chosen") used.add(choice.shard);
    }
    expect(used.size).toBe(3);
  });

  it("shares keys by capacity and health", ({ expect }) => {
    const candidates = [
      aShard(shardA, { concurrentRequestsMax: 64, weight: 0.25 }),
      aShard(shardB, { concurrentRequestsMax: 32 }),
      aShard(shardC, { concurrentRequestsMax: 16 }),
    ];
    const won = new Map<string, number>();
    for (let index = 0; index < 20_000; index += 1) {
      const choice = choose(candidates, { affinityKey: `key ${index}` });
      if (choice.kind === "none") throw new Error("three shards are free");
      won.set(choice.shard, (won.get(choice.shard) ?? 0) + 1 / 20_000);
    }
    expect(won.get(shardA)).toBeCloseTo(0.25, 1.5);
    expect(won.get(shardB)).toBeCloseTo(0.5, 1.5);
    expect(won.get(shardC)).toBeCloseTo(0.25, 1.5);
  });

  it("takes the least loaded shard when there is nothing to meet, by share of healthy capacity", ({
    expect,
  }) => {
    const candidates = [
      aShard(shardA, { inFlight: 2 }),
      aShard(shardB, { inFlight: 3, concurrentRequestsMax: 16 }),
      aShard(shardC, { inFlight: 0, weight: 0.1 }),
    ];
    expect(choose(candidates, { affinityKey: "" })).toEqual({
      kind: "chosen",
      shard: shardB,
      reason: "leastLoaded",
      rejected: [],
      runnersUp: [shardA, shardC],
    });
  });

  it("draws among equally loaded shards", ({ expect }) => {
    const lots = [0.9, 0.1, 0.5];
    const random = (): number => lots.shift() ?? 0;
    expect(choose(three, { affinityKey: "" }, random)).toMatchObject({ shard: shardB });
  });

  it.for<[string, Partial<ShardView>]>([
    ["jurisdiction", { jurisdiction: "us" as Jurisdiction }],
    ["model", { model: "other" }],
    ["draining", { isDraining: true }],
    ["breaker", { isAdmitting: false }],
    ["unhealthy", { weight: 0 }],
    ["unhealthy", { weight: Number.NaN }],
    ["full", { inFlight: 4 }],
  ])("never takes a home shard with reason %s", ([reason, flaw], { expect }) => {
    const candidates = [aShard(shardA, flaw), aShard(shardB)];
    expect(choose(candidates, { homeShard: shardA })).toEqual({
      kind: "chosen",
      shard: shardB,
      reason: "spill",
      rejected: [{ id: shardA, reason }],
      runnersUp: [],
    });
  });

  it("never takes a shard that was tried already, nor one of another revision", ({ expect }) => {
    const candidates = [aShard(shardA), aShard(shardB, { revision: "r2" }), aShard(shardC)];
    expect(choose(candidates, { excluded: [shardA], revision: "r1" })).toMatchObject({
      shard: shardC,
      rejected: [
        { id: shardA, reason: "excluded" },
        { id: shardB, reason: "revision" },
      ],
    });
  });

  it("says that waiting helps when one shard is full, whatever the others are", ({ expect }) => {
    const candidates = [aShard(shardA, { inFlight: 4 }), aShard(shardB, { isAdmitting: false })];
    expect(choose(candidates)).toMatchObject({ kind: "none", reason: "allFull" });
  });

  it("says unhealthy when shards exist and none may be used", ({ expect }) => {
    const candidates = [aShard(shardA, { weight: 0 }), aShard(shardB, { isAdmitting: false })];
    expect(choose(candidates)).toMatchObject({ kind: "none", reason: "unhealthy" });
  });

  it.for<[string, readonly ShardView[], readonly ShardId[]]>([
    ["the list is empty", [], []],
    ["all serve another model", [aShard(shardA, { model: "other" })], []],
    ["all were tried", [aShard(shardA)], [shardA]],
    ["all are foreign", [aShard(shardA, { jurisdiction: "us" as Jurisdiction })], []],
  ])("says noShard when %s", ([, candidates, excluded], { expect }) => {
    expect(choose(candidates, { excluded })).toMatchObject({ kind: "none", reason: "noShard" });
  });

  it("lets a class fill its share of a shard, and one slot at least", ({ expect }) => {
    const policy = { ceilings: { critical: 1, interactive: 0.9, standard: 0.5, batch: 0 } };
    const fill = (inFlight: number, priority: ChooseShardInput["priority"]) =>
      chooseShard(anInput([aShard(shardA, { inFlight })], { priority }), none, policy).kind;
    expect(fill(3, "critical")).toBe("chosen");
    expect(fill(4, "critical")).toBe("none");
    expect(fill(1, "standard")).toBe("chosen");
    expect(fill(2, "standard")).toBe("none");
    expect(fill(0, "batch")).toBe("chosen");
    expect(fill(1, "batch")).toBe("none");
  });
});
