import { describe, it } from "vitest";
import { profiles } from "#dev/simulated-engine/model/profiles.ts";
import { learnSpeed } from "#shared/routing/learn-speed.ts";
import type { SpeedSample } from "#shared/routing/learn-speed.ts";
import { startSpeed } from "#shared/routing/speed-profiles.ts";

const start = startSpeed("h100-8b", 1);

function aSample(changes: Partial<SpeedSample> = {}): SpeedSample {
  return {
    prefillTokens: 6_000,
    ttftSeconds: 1,
    outputTokens: 101,
    decodeSeconds: 2,
    batch: 1,
    kvTokens: 0,
    replicas: 1,
    ...changes,
  };
}

describe("what a shard starts with", () => {
  it.for(Object.entries(profiles))("is its profile's speed: %s", ([name, profile], { expect }) => {
    const speed = startSpeed(name, 1);
    const prefill = 850 / profile.computeMsPerToken;
    expect(speed.prefillTokensPerSecond / prefill).toBeGreaterThan(0.9);
    expect(speed.prefillTokensPerSecond / prefill).toBeLessThan(1.1);
    const floorMs = profile.weightReadMs + profile.hostMs;
    expect(speed.stepFloorSeconds * 1_000).toBeCloseTo(floorMs, 0);
    expect(speed.sequenceSeconds * 1_000).toBeCloseTo(profile.hostMsPerSequence, 4);
    expect(speed.kvTokenSeconds * 1_000).toBeCloseTo(profile.kvReadMsPerToken, 5);
  });

  it("is an H100's for unknown hardware, and scaled for a faster one", ({ expect }) => {
    expect(startSpeed("no such card", 1)).toEqual(start);
    expect(startSpeed(undefined, 2)).toMatchObject({
      prefillTokensPerSecond: 60_000,
      stepFloorSeconds: start.stepFloorSeconds / 2,
    });
  });
});

describe("learnSpeed", () => {
  it("follows faster and slower prefills bit by bit, whatever one of them says", ({ expect }) => {
    for (const prefillTokens of [600_000, 6_000]) {
      let speed = start;
      for (let count = 0; count < 100; count += 1)
        speed = learnSpeed(speed, aSample({ prefillTokens }));
      expect(speed.prefillTokensPerSecond / prefillTokens).toBeCloseTo(1, 1);
    }
    const { prefillTokensPerSecond } = learnSpeed(start, aSample({ prefillTokens: 1e9 }));
    expect(prefillTokensPerSecond / start.prefillTokensPerSecond).toBeLessThan(1.2);
  });

  it("takes what the batch and the memory explain out of the step", ({ expect }) => {
    let speed = start;
    const sample = aSample({ batch: 100, kvTokens: 100_000 });
    for (let count = 0; count < 200; count += 1) speed = learnSpeed(speed, sample);
    expect(speed.stepFloorSeconds).toBeCloseTo(0.02 - 0.0043 - 0.0039, 3);
  });

  it.for([
    ["a short prefill", { prefillTokens: 511, outputTokens: 15 }],
    ["no number", { prefillTokens: Number.NaN, outputTokens: Number.NaN }],
    ["no time", { ttftSeconds: Number.NaN, decodeSeconds: Number.NaN }],
    ["endless time", { ttftSeconds: Infinity, decodeSeconds: Infinity }],
  ] as const)("learns nothing from %s", ([, changes], { expect }) => {
    const speed = learnSpeed(start, aSample(changes));
    expect(speed.stepFloorSeconds).toBe(start.stepFloorSeconds);
    expect(Number.isFinite(speed.prefillTokensPerSecond)).toBe(true);
  });

  it("never leaves its bounds", ({ expect }) => {
    const absurd = learnSpeed(
      start,
      aSample({ prefillTokens: 1e12, ttftSeconds: 0, decodeSeconds: -5 }),
    );
    expect(absurd.prefillTokensPerSecond).toBeLessThanOrEqual(3_000_000);
    expect(absurd.stepFloorSeconds).toBeGreaterThan(0);
  });
});
