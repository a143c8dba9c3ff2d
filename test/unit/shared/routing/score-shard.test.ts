import { describe, expect, it } from "vitest";
import { errorRatioAt, neutralErrorRatio, observeTtft } from "#shared/routing/error-ratio.ts";
import { saturationOf } from "#shared/routing/filter-shard.ts";
import { predict } from "#shared/routing/predict.ts";
import { selectShard } from "#shared/routing/score-shard.ts";
import type { Selection } from "#shared/routing/score-shard.ts";
import { defaultSelectionPolicy, selectionPolicyAt } from "#shared/routing/selection-policy.ts";
import type { SelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { PromptDemand, ShardState } from "#shared/routing/shard-state.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { aPrompt, aShard } from "./shards.ts";

const never = (): number => {
  throw new Error("random was read");
};

function select(
  candidates: readonly ShardState[],
  prompt: Partial<PromptDemand> = {},
  cachedTokens: readonly number[] = [],
  policy: Partial<SelectionPolicy> = {},
  random: () => number = () => 0,
): Selection {
  return selectShard({ candidates, cachedTokens, prompt: aPrompt(prompt) }, random, {
    ...defaultSelectionPolicy,
    ...policy,
  });
}

function idOf(selection: Selection): string {
  return selection.kind === "chosen" ? selection.chosen.id : selection.reason;
}
function reasonOf(selection: Selection): string {
  return selection.reason;
}

describe("selectShard: filters", () => {
  it.each([
    ["jurisdiction", { jurisdiction: "in" }],
    ["model", { model: "other" }],
    ["context", { contextTokensMax: 100 }],
    ["draining", { isDraining: true }],
    ["breaker", { isAdmitting: false }],
    ["weight 0", { weight: 0 }],
    ["a weight that is no number", { weight: Number.NaN }],
    ["a full batch", { inFlight: 64 }],
  ] as const)("never takes a shard refused by %s, however busy the other", (_name, change) => {
    const other = aShard("b", { inFlight: 40, workTokens: 80_000, pendingPrefillTokens: 10_000 });
    expect(idOf(select([aShard("a", change as Partial<ShardState>), other]))).toBe("b");
  });

  it("keeps to the wanted revision, to the tenant's set and to what was not tried", () => {
    const shards = [aShard("a"), aShard("b", { revision: "2" }), aShard("c")];
    expect(idOf(select(shards, { revision: "2" }))).toBe("b");
    expect(idOf(select(shards, { allowed: new Set(["c" as ShardId]) }))).toBe("c");
    expect(idOf(select(shards, { excluded: ["a", "b"] as ShardId[] }))).toBe("c");
  });

  it("says whether waiting helps when there is none", () => {
    expect(idOf(select([]))).toBe("noShard");
    expect(idOf(select([aShard("a", { isAdmitting: false })]))).toBe("unhealthy");
    expect(idOf(select([aShard("a", { inFlight: 64 }), aShard("b", { weight: 0 })]))).toBe("full");
  });

  it("refuses the lower class first, and an idle shard refuses nobody", () => {
    const busy = aShard("a", { inFlight: 40 });
    expect(idOf(select([busy], { priority: "batch" }))).toBe("full");
    expect(idOf(select([busy], { priority: "critical" }))).toBe("a");
    const idle = aShard("a", { pendingPrefillTokens: 1e9 });
    expect(idOf(select([idle], { priority: "batch" }))).toBe("a");
  });
});

describe("selectShard: the ceiling of a conversation's home", () => {
  const home = "a" as ShardId;
  const behind = { inFlight: 2, pendingPrefillTokens: 100_000 };

  it("lets its turns wait behind a long prefill that keeps strangers away", () => {
    expect(idOf(select([aShard("a", behind)]))).toBe("full");
    expect(idOf(select([aShard("a", behind)], { homeShard: home }))).toBe("a");
  });

  it("still holds for slots and memory", () => {
    expect(idOf(select([aShard("a", { inFlight: 64 })], { homeShard: home }))).toBe("full");
    const packed = aShard("a", { inFlight: 2, kvTokens: 400_000 });
    expect(idOf(select([packed], { homeShard: home }))).toBe("full");
  });
});

describe("selectShard: scores", () => {
  it("prefers the shard that answers sooner: less prefill in front, a warmer cache, faster cards", () => {
    expect(idOf(select([aShard("a", { pendingPrefillTokens: 10_000 }), aShard("b")]))).toBe("b");
    expect(idOf(select([aShard("a"), aShard("b")], { inputTokens: 50_000 }, [0, 40_000]))).toBe(
      "b",
    );
    const { speed } = aShard("a");
    const slow = aShard("a", { speed: { ...speed, prefillTokensPerSecond: 1_000 } });
    expect(idOf(select([slow, aShard("b")], { inputTokens: 8_000 }))).toBe("b");
  });

  it("prefers less risk, less money and predictions that were kept", () => {
    expect(idOf(select([aShard("a", { weight: 0.3 }), aShard("b")]))).toBe("b");
    const dear = aShard("a", { usdPerMillionInputTokens: 50, usdPerMillionOutputTokens: 50 });
    expect(idOf(select([dear, aShard("b")], { priority: "batch" }))).toBe("b");
    const prompt = { inputTokens: 8_000 };
    expect(idOf(select([aShard("a", { errorRatio: 8 }), aShard("b")], prompt))).toBe("b");
  });

  it("leaves a warm shard that carries far more than its share of the work", () => {
    const warm = aShard("a", { inFlight: 20, workTokens: 400_000 });
    const others = ["b", "c", "d", "e", "f"].map((id) =>
      aShard(id, { inFlight: 4, workTokens: 4_000 }),
    );
    const cached = [9_000];
    const prompt = { inputTokens: 10_000 };
    expect(idOf(select([warm, ...others], prompt, cached))).not.toBe("a");
    expect(idOf(select([warm, ...others], prompt, cached, { loadBound: 1e9 }))).toBe("a");
  });

  it("holds shards closer together from degradation level 2 on", () => {
    const warm = aShard("a", { inFlight: 20, workTokens: 320_000 });
    const others = ["b", "c"].map((id) => aShard(id, { inFlight: 12, workTokens: 120_000 }));
    const at = (level: number): string =>
      idOf(select([warm, ...others], { inputTokens: 10_000 }, [9_000], selectionPolicyAt(level)));
    expect([0, 1, 2, 4].map(at)).toEqual(["a", "a", expect.not.stringMatching("a"), at(2)]);
  });

  it("keeps to a warm shard that has the only work of a calm cell", () => {
    const warm = aShard("a", { inFlight: 2, workTokens: 200_000 });
    const others = ["b", "c", "d", "e", "f"].map((id) => aShard(id));
    const of = (policy: Partial<SelectionPolicy>): string =>
      idOf(select([warm, ...others], { inputTokens: 10_000 }, [9_000], policy));
    expect(of({})).toBe("a");
    expect(of({ loadBoundFreeSeconds: 0 })).not.toBe("a");
  });

  it("waits at a warm shard rather than take the others' prefill, up to a point", () => {
    const others = [aShard("b"), aShard("c")];
    const of = (pendingPrefillTokens: number, policy: Partial<SelectionPolicy> = {}): string =>
      idOf(
        select(
          [aShard("a", { pendingPrefillTokens }), ...others],
          { inputTokens: 50_000 },
          [45_000],
          policy,
        ),
      );
    expect(of(60_000)).toBe("a");
    expect(of(60_000, { displacementWeight: 0 })).not.toBe("a");
    expect(of(300_000)).not.toBe("a");
  });

  it("names the next best with what was predicted for them", () => {
    const shards = ["a", "b", "c", "d", "e"].map((id, index) =>
      aShard(id, { pendingPrefillTokens: index * 5_000, workTokens: 1_000 }),
    );
    const selection = select(shards, {}, [], { tieMargin: 0 });
    if (selection.kind !== "chosen") throw new Error("nothing was chosen");
    expect(selection.chosen.id).toBe("a");
    expect(selection.runnersUp.map(({ id }) => id)).toEqual(["b", "c", "d"]);
  });
});

describe("selectShard: affinity", () => {
  const home = "a" as ShardId;

  it("stays at home within the margin, spills for a turn beyond it, and goes elsewhere without it", () => {
    const near = aShard("a", { pendingPrefillTokens: 2_000 });
    const far = aShard("a", { pendingPrefillTokens: 60_000 });
    const gone = aShard("a", { isAdmitting: false });
    expect(reasonOf(select([near, aShard("b")], { homeShard: home }))).toBe("home");
    const spill = select([far, aShard("b")], { homeShard: home });
    expect([idOf(spill), reasonOf(spill)]).toEqual(["b", "spill"]);
    expect(reasonOf(select([gone, aShard("b")], { homeShard: home }))).toBe("rehome");
  });

  it("sends equal shards' prompts of one key to one of them, without reading chance", () => {
    const shards = ["a", "b", "c", "d"].map((id) => aShard(id));
    const of = (key: string): string => idOf(select(shards, { affinityKey: key }, [], {}, never));
    expect(of("key-1")).toBe(of("key-1"));
    const used = new Set(Array.from({ length: 64 }, (_, index) => of(`key-${index}`)));
    expect(used.size).toBe(4);
  });

  it("draws among equals without a key", () => {
    const shards = ["a", "b", "c", "d"].map((id) => aShard(id));
    expect(idOf(select(shards, {}, [], {}, () => 0))).toBe("a");
    expect(idOf(select(shards, {}, [], {}, () => 0.999_999))).toBe("d");
  });

  it("still finds the home, the warmest and the emptiest among many", () => {
    const shards = Array.from({ length: 300 }, (_, index) =>
      aShard(`s${index}`, { workTokens: 5_000, inFlight: 5, pendingPrefillTokens: 10_000 }),
    );
    shards[200] = aShard("empty");
    expect(idOf(select(shards))).toBe("empty");
    const cached = shards.map((_, index) => (index === 100 ? 200_000 : 0));
    expect(idOf(select(shards.slice(0, 150), { inputTokens: 200_000 }, cached))).toBe("s100");
    shards[7] = aShard("s7");
    expect(idOf(select(shards, { homeShard: "s7" as ShardId, affinityKey: "k" }))).toBe("s7");
  });
});

describe("prediction", () => {
  it("counts uncached tokens at prefill speed, times the error ratio, and one step", () => {
    const state = aShard("a", { pendingPrefillTokens: 10_000, errorRatio: 2 });
    const prompt = aPrompt({ inputTokens: 6_000, outputTokens: 100 });
    const { ttftSeconds, itlSeconds } = predict(state, prompt, 1_000);
    expect(ttftSeconds - itlSeconds).toBeCloseTo(2 * (15_000 / 10_000), 6);
  });

  it("adds the wait for a slot and for KV memory", () => {
    const prompt = aPrompt();
    const free = predict(aShard("a"), prompt, 0).ttftSeconds;
    expect(predict(aShard("a", { inFlight: 128 }), prompt, 0).ttftSeconds).toBeGreaterThan(
      2 * free,
    );
    const packed = aShard("a", { kvTokens: 800_000 });
    expect(predict(packed, prompt, 0).ttftSeconds).toBeGreaterThan(2 * free);
  });

  it("is as full as its fullest resource", () => {
    expect(saturationOf(aShard("a", { inFlight: 32 }), 2)).toBeCloseTo(0.5, 9);
    expect(saturationOf(aShard("a", { kvTokens: 340_000 }), 2)).toBeCloseTo(1, 9);
    expect(saturationOf(aShard("a", { pendingPrefillTokens: 20_000 }), 2)).toBeCloseTo(1, 9);
  });
});

describe("error ratio", () => {
  it("follows what is seen within a few answers, fades with time and stays in bounds", () => {
    const once = observeTtft(neutralErrorRatio, 4, 1, 0);
    expect(once.ratio).toBeCloseTo(4 ** 0.3, 9);
    expect(errorRatioAt(once, 10_000)).toBeCloseTo(1 + (once.ratio - 1) * Math.exp(-1), 9);
    let bad = neutralErrorRatio;
    for (let answers = 0; answers < 40; answers += 1) bad = observeTtft(bad, 1_000, 1, 0);
    expect(bad.ratio).toBeCloseTo(8, 4);
    let good = neutralErrorRatio;
    for (let answers = 0; answers < 40; answers += 1) good = observeTtft(good, 0, 1, 0);
    expect(good.ratio).toBeCloseTo(0.5, 4);
  });

  it("takes twice as late and twice as early as each other's opposite", () => {
    const late = observeTtft(neutralErrorRatio, 2, 1, 0);
    expect(observeTtft(late, 0.5, 1, 0).ratio).toBeLessThan(1);
    const early = observeTtft(neutralErrorRatio, 0.5, 1, 0);
    expect(late.ratio * early.ratio).toBeCloseTo(1, 9);
  });

  it("ignores what is no observation", () => {
    expect(observeTtft(neutralErrorRatio, Number.NaN, 1, 1)).toBe(neutralErrorRatio);
    expect(observeTtft(neutralErrorRatio, 1, 0, 1)).toBe(neutralErrorRatio);
    expect(observeTtft(neutralErrorRatio, -1, 1, 1)).toBe(neutralErrorRatio);
  });
});
