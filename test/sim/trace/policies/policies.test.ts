import { describe, test } from "vitest";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { PromptDemand, ShardState } from "#shared/routing/shard-state.ts";
import { aPrompt, aShard } from "#test/unit/shared/routing/shards.ts";
import { ablations, allParts, cellAblations, policies } from "./catalogue.ts";
import type { PolicyQuestion, RoutingPolicy } from "./policy.ts";

interface Asked {
  readonly shards?: readonly ShardState[];
  readonly eligible?: readonly number[];
  readonly cachedTokens?: readonly number[];
  readonly prompt?: Partial<PromptDemand>;
  readonly level?: PolicyQuestion["level"];
}

const four = ["a", "b", "c", "d"].map((id) => aShard(id));

function make(name: string): RoutingPolicy {
  const entry = policies[name] ?? ablations[name];
  if (entry === undefined) throw new Error(`no policy ${name}`);
  return entry.make(defaultSelectionPolicy);
}

/** Answers of one policy to the same question, by shard. */
function answers(name: string, asked: Asked, times: number): readonly number[] {
  const { cachedTokens = [], level = 0, prompt = {}, shards = four } = asked;
  const eligible = asked.eligible ?? shards.map((_, index) => index);
  const policy = make(name);
  const random = seededRandom(5);
  return Array.from(
    { length: times },
    () =>
      policy.choose({ shards, eligible, cachedTokens, prompt: aPrompt(prompt), level }, random)
        .index,
  );
}

function busy(...inFlight: readonly number[]): readonly ShardState[] {
  return inFlight.map((count, index) => aShard(`s${index}`, { inFlight: count }));
}

describe("the policies to compare with", () => {
  test.for([...Object.keys(policies), ...Object.keys(ablations)])(
    "%s chooses among the eligible alone",
    (name, { expect }) => {
      const asked = {
        eligible: [1, 3],
        shards: four.map((state, index) =>
          index % 2 === 1 ? state : { ...state, isDraining: true },
        ),
      };
      for (const index of answers(name, asked, 40)) expect([1, 3]).toContain(index);
    },
  );

  test("round robin takes one after the other", ({ expect }) => {
    expect(answers("round-robin", {}, 6)).toStrictEqual([0, 1, 2, 3, 0, 1]);
  });

  test("random takes each about as often", ({ expect }) => {
    const taken = answers("random", {}, 4_000);
    for (const shard of [0, 1, 2, 3]) {
      const count = taken.filter((index) => index === shard).length;
      expect(Math.abs(count - 1_000)).toBeLessThan(120);
    }
  });

  test("least requests takes the one with fewest, whatever its cache", ({ expect }) => {
    const asked = { shards: busy(5, 3, 9), cachedTokens: [900, 0, 900] };
    expect(answers("least-requests", asked, 1)).toStrictEqual([1]);
  });

  test("power of two draws two: never the fullest of three, and not always the emptiest", ({
    expect,
  }) => {
    const taken = answers("power-of-two", { shards: busy(1, 5, 9) }, 900);
    const shares = [0, 1, 2].map((shard) => taken.filter((index) => index === shard).length / 900);
    // Two draws with putting back: 5/9, 3/9, 1/9.
    expect(shares[0]).toBeCloseTo(5 / 9, 1);
    expect(shares[1]).toBeCloseTo(3 / 9, 1);
    expect(shares[2]).toBeCloseTo(1 / 9, 1);
  });

  test("consistent hashing keeps a key on its shard however full that is", ({ expect }) => {
    const prompt = { affinityKey: "conversation" };
    const [first = -1] = answers("consistent-hash", { prompt }, 1);
    const shards = four.map((state, index) =>
      index === first ? { ...state, inFlight: 60 } : state,
    );
    expect(new Set(answers("consistent-hash", { prompt, shards }, 5))).toStrictEqual(
      new Set([first]),
    );
    // Only its own keys move when a shard goes.
    const eligible = [0, 1, 2, 3].filter((index) => index !== first);
    expect(answers("consistent-hash", { prompt, eligible }, 1)[0]).not.toBe(first);
  });

  test("bounded loads passes a shard by that has more than 1.25 of its share", ({ expect }) => {
    const prompt = { affinityKey: "conversation" };
    const [first = -1] = answers("bounded-load", { prompt }, 1);
    const withLoad = (inFlight: number): readonly ShardState[] =>
      four.map((state, index) => ({ ...state, inFlight: index === first ? inFlight : 4 }));
    expect(answers("bounded-load", { prompt, shards: withLoad(4) }, 1)).toStrictEqual([first]);
    expect(answers("bounded-load", { prompt, shards: withLoad(30) }, 1)).not.toStrictEqual([first]);
  });

  test("cache-aware follows the longest prefix above 0.3, and load when the fleet is uneven", ({
    expect,
  }) => {
    const prompt = { inputTokens: 1_000 };
    const known = { prompt, shards: busy(9, 4, 2), cachedTokens: [400, 200, 0] };
    expect(answers("cache-aware", known, 1)).toStrictEqual([0]);
    expect(answers("cache-aware", { ...known, cachedTokens: [300, 0, 0] }, 1)).toStrictEqual([2]);
    // More than 64 apart, and more than 1.5 times.
    expect(answers("cache-aware", { ...known, shards: busy(67, 4, 2) }, 1)).toStrictEqual([2]);
    expect(answers("cache-aware", { ...known, shards: busy(66, 4, 2) }, 1)).toStrictEqual([0]);
  });

  test("LMetric multiplies new prefill by the batch", ({ expect }) => {
    const shards = [
      aShard("a", { inFlight: 9, pendingPrefillTokens: 0 }),
      aShard("b", { inFlight: 1, pendingPrefillTokens: 3_000 }),
      aShard("c", { inFlight: 3, pendingPrefillTokens: 2_000 }),
    ];
    // 1,000 × 10, 4,000 × 2, 3,000 × 4.
    expect(answers("lmetric", { shards, prompt: { inputTokens: 1_000 } }, 1)).toStrictEqual([1]);
    // 100 × 10 with what the first holds.
    const cachedTokens = [900, 0, 0];
    expect(
      answers("lmetric", { shards, cachedTokens, prompt: { inputTokens: 1_000 } }, 1),
    ).toStrictEqual([0]);
  });

  test("LMetric in seconds knows which shard is faster", ({ expect }) => {
    const { speed } = aShard("a");
    const shards = [
      aShard("slow", { inFlight: 1, speed: { ...speed, prefillTokensPerSecond: 1_000 } }),
      aShard("fast", { inFlight: 2, speed: { ...speed, prefillTokensPerSecond: 9_000 } }),
    ];
    expect(answers("lmetric", { shards }, 1)).toStrictEqual([0]);
    expect(answers("lmetric-speed", { shards }, 1)).toStrictEqual([1]);
  });
});

describe("ours and its parts", () => {
  const shards = [
    aShard("a", { pendingPrefillTokens: 5_000, inFlight: 2 }),
    aShard("b"),
    aShard("c"),
  ];
  const warm = { shards, cachedTokens: [19_000], prompt: { inputTokens: 20_000 } };

  test("goes where the prompt is warm; without its cache term it does not know", ({ expect }) => {
    expect(answers("meridian", warm, 1)).toStrictEqual([0]);
    expect(answers("meridian-no-cache", warm, 1)).not.toStrictEqual([0]);
  });

  test("without displacement it leaves a warm shard sooner", ({ expect }) => {
    const [first, ...others] = shards;
    const longer = { ...first, pendingPrefillTokens: 25_000 } as ShardState;
    const prompt = { ...warm.prompt, ceiling: Infinity };
    const asked = { ...warm, prompt, shards: [longer, ...others] };
    expect(answers("meridian", asked, 1)).toStrictEqual([0]);
    expect(answers("meridian-no-displacement", asked, 1)).not.toStrictEqual([0]);
  });

  test("without its bound it piles onto a shard that has everything", ({ expect }) => {
    const loaded = { inFlight: 2, workTokens: 900_000 };
    const rest = ["b", "c", "d", "e", "f"].map((id) => aShard(id));
    const asked = { ...warm, shards: [aShard("a", loaded), ...rest] };
    expect(answers("meridian", asked, 1)).not.toStrictEqual([0]);
    expect(answers("meridian-no-bound", asked, 1)).toStrictEqual([0]);
  });

  test("spares no shard for the sake of a cache from level 2 on", ({ expect }) => {
    const loaded = { inFlight: 2, workTokens: 900_000 };
    const rest = ["b", "c", "d", "e", "f"].map((id) =>
      aShard(id, { inFlight: 2, workTokens: 300_000 }),
    );
    const asked = { ...warm, shards: [aShard("a", loaded), ...rest] };
    const taken = ([0, 1, 2, 4] as const).map((level) =>
      answers("meridian", { ...asked, level }, 1),
    );
    expect(taken.map(([index]) => index === 0)).toStrictEqual([true, true, false, false]);
  });

  test("each ablation of the cell lacks one part, and the whole lacks none", ({ expect }) => {
    expect(policies["meridian"]?.parts).toStrictEqual(allParts);
    for (const { parts } of Object.values(cellAblations))
      expect(Object.values(parts).filter((has) => !has)).toHaveLength(1);
    const missing = Object.values(cellAblations).map(({ parts }) => JSON.stringify(parts));
    expect(new Set(missing).size).toBe(Object.keys(allParts).length);
  });

  test("stale views and a missing error ratio are told apart from the whole", ({ expect }) => {
    expect(ablations["meridian-stale-5"]?.staleSeconds).toBe(5);
    expect(ablations["meridian-no-error-ratio"]?.hasErrorRatio).toBe(false);
    expect(policies["meridian"]).toMatchObject({ staleSeconds: 0, hasErrorRatio: true });
  });
});
