import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { filterShard } from "#shared/routing/filter-shard.ts";
import { predict } from "#shared/routing/predict.ts";
import { selectShard } from "#shared/routing/score-shard.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { PromptDemand, ShardState } from "#shared/routing/shard-state.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { aPrompt, aShard } from "#test/unit/shared/routing/shards.ts";

const change = fc.record({
  isDraining: fc.boolean(),
  isAdmitting: fc.boolean(),
  weight: fc.oneof(fc.constantFrom(0, 1, Number.NaN), fc.double({ min: 0, max: 1, noNaN: true })),
  inFlight: fc.nat(80),
  kvTokens: fc.nat(500_000),
  pendingPrefillTokens: fc.nat(200_000),
  workTokens: fc.nat(400_000),
  errorRatio: fc.double(),
  replicas: fc.integer({ min: 1, max: 8 }),
});
const shards = fc
  .array(change, { minLength: 1, maxLength: 80 })
  .map((changes) => changes.map((one, index) => aShard(`s${index}`, one)));
const prompts = fc
  .record({
    inputTokens: fc.integer({ min: 1, max: 600_000 }),
    outputTokens: fc.nat(4_000),
    priority: fc.constantFrom("critical", "interactive", "standard", "batch"),
    affinityKey: fc.constantFrom("", "k1", "k2"),
    homeShard: fc.option(fc.nat(80).map((index) => `s${index}` as ShardId)),
  })
  .map((some) => aPrompt(some as Partial<PromptDemand>));
const caches = fc.array(fc.nat(700_000), { maxLength: 80 });

describe("the selection of a shard, whatever the fleet looks like", () => {
  it("never picks a filtered shard, gives no NaN, and picks one whenever one passes", () => {
    fc.assert(
      fc.property(shards, prompts, caches, fc.nat(), (candidates, prompt, cachedTokens, seed) => {
        const input = { candidates, prompt, cachedTokens };
        const selection = selectShard(input, seededRandom(seed), defaultSelectionPolicy);
        const passing = candidates.filter(
          (state) => filterShard(state, prompt, defaultSelectionPolicy) === null,
        );
        expect(selection.kind).toBe(passing.length === 0 ? "none" : "chosen");
        if (selection.kind === "none") return;
        for (const { id, score, prediction } of [selection.chosen, ...selection.runnersUp]) {
          expect(passing.map((state) => state.id)).toContain(id);
          expect(Number.isFinite(score)).toBe(true);
          expect(prediction.ttftSeconds).toBeGreaterThan(0);
        }
      }),
    );
  });

  it("is deterministic given chance", () => {
    fc.assert(
      fc.property(shards, prompts, caches, fc.nat(), (candidates, prompt, cachedTokens, seed) => {
        const once = (): unknown =>
          selectShard(
            { candidates, prompt, cachedTokens },
            seededRandom(seed),
            defaultSelectionPolicy,
          );
        expect(once()).toEqual(once());
      }),
    );
  });

  it("never makes a shard more attractive by more load, or less by a warmer cache", () => {
    const more = fc.record({
      inFlight: fc.nat(50),
      kvTokens: fc.nat(500_000),
      pendingPrefillTokens: fc.nat(100_000),
      cold: fc.nat(100_000),
    });
    fc.assert(
      fc.property(change, prompts, fc.nat(500_000), more, (one, prompt, cached, added) => {
        const state: ShardState = aShard("a", one);
        const heavier: ShardState = {
          ...state,
          inFlight: state.inFlight + added.inFlight,
          kvTokens: state.kvTokens + added.kvTokens,
          pendingPrefillTokens: state.pendingPrefillTokens + added.pendingPrefillTokens,
        };
        const before = predict(state, prompt, cached);
        const after = predict(heavier, prompt, Math.max(0, cached - added.cold));
        expect(after.ttftSeconds).toBeGreaterThanOrEqual(before.ttftSeconds);
        expect(after.itlSeconds).toBeGreaterThanOrEqual(before.itlSeconds);
      }),
    );
  });

  it("does not go to a shard because it got busier", () => {
    fc.assert(
      fc.property(shards, prompts, fc.nat(79), fc.nat(50_000), (candidates, prompt, at, tokens) => {
        const busier = candidates.map((state, index) =>
          index === at
            ? {
                ...state,
                inFlight: state.inFlight + 1,
                pendingPrefillTokens: state.pendingPrefillTokens + tokens,
              }
            : state,
        );
        // Without bound and near-ties, which weigh a shard against the others.
        const policy = {
          ...defaultSelectionPolicy,
          tieMargin: 0,
          homeMargin: 0,
          loadBound: 1e12,
        };
        const key = { ...prompt, affinityKey: "k" };
        const few = { ...policy, scoredMax: 1_000 };
        const run = (list: readonly ShardState[]): string => {
          const selection = selectShard(
            { candidates: list, prompt: key, cachedTokens: [] },
            () => 0,
            few,
          );
          return selection.kind === "chosen" ? selection.chosen.id : "";
        };
        if (run(candidates) !== `s${at}`) expect(run(busier)).not.toBe(`s${at}`);
      }),
    );
  });
});
