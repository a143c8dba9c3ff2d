import { describe, expect, it } from "vitest";
import { aPool, Region, turnsOf } from "./region.ts";

/** Waves of an hour, so that replicas are started again and again. */
const waves = (minute: number) => ({ protected: Math.floor(minute / 60) % 2 === 0 ? 2 : 5 });

async function afterWaves(startMs: number): Promise<Region> {
  const region = new Region([aPool({ coldStartSeconds: 120 })], { od: 3 }, [
    { cell: "a" },
    { cell: "b" },
  ]);
  region.platform.startMs = startMs;
  region.load = waves;
  await region.run(480);
  return region;
}

function startSeconds(region: Region): number {
  return region.lastPlan()?.pools[0]?.startSeconds ?? 0;
}

describe("starts that the region's leader measures", () => {
  it("replace the declared time, the shorter as the longer, within bounds and without swinging", async () => {
    const quick = await afterWaves(30_000);
    expect(startSeconds(quick)).toBeLessThan(100);
    expect(startSeconds(quick)).toBeGreaterThanOrEqual(30);
    const slow = await afterWaves(400_000);
    expect(startSeconds(slow)).toBeGreaterThan(150);
    expect(startSeconds(slow)).toBeLessThanOrEqual(480);
    for (const region of [quick, slow]) expect(turnsOf(region, "od")).toBeLessThanOrEqual(8);
  });

  it("are known to the next leader", async () => {
    const region = await afterWaves(30_000);
    const before = startSeconds(region);
    const [leader] = region.leaders.keys();
    region.stopped.add(leader ?? "");
    await region.run(2);
    expect(region.leaders.size).toBe(2);
    expect(startSeconds(region)).toBeCloseTo(before);
  });

  it("are those of the cells, where they measure them", async () => {
    const region = new Region([aPool({ coldStartSeconds: 120 })], { od: 3 });
    region.load = () => ({ protected: 2 });
    region.starts = [{ shard: "eu-west-1a/llama-0", ms: Array.from({ length: 15 }, () => 40_000) }];
    await region.run(1);
    // Fifteen measured ones and five declared ones.
    expect(startSeconds(region)).toBeCloseTo(120 * (40 / 120) ** 0.75);
    region.starts = [{ shard: "eu-west-1a/another", ms: [1_000, 1_000] }];
    await region.run(1);
    expect(startSeconds(region)).toBe(120);
  });
});
