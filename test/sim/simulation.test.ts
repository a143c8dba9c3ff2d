import { describe, expect, it } from "vitest";
import { runCampaign } from "./campaign.ts";
import { profiles } from "./faults/profiles.ts";
import { Kernel } from "./kernel.ts";
import { killMutants } from "./mutants/kill.ts";
import { mutants } from "./mutants/mutants.ts";
import { Random } from "./random.ts";
import { formatReport } from "./report.ts";
import { simulate } from "./simulate.ts";

const events = 2_000;
const minutes = 60_000;

/** Seeds of each profile in the test run; `npm run sim` runs as many as it is told. */
const seedsOf = {
  swarm: 1_200,
  pairs: 100,
  calm: 20,
  region: 60,
  clock: 60,
  restore: 60,
  partition: 60,
  isolated: 200,
} as const;

describe("the simulated world", () => {
  it.each(Object.entries(seedsOf))(
    "holds every invariant in profile %s, over %i seeds",
    async (name, seeds) => {
      const profile = profiles[name];
      if (profile === undefined) throw new Error(`no profile ${name}`);
      const onFailure = (line: string): void => console.log(line);
      const campaign = await runCampaign({ profile, events, firstSeed: 1, seeds, onFailure });
      console.log(formatReport(campaign.results, profile));
      expect(campaign.complaints).toEqual([]);
      expect(campaign.results).toHaveLength(seeds);
      expect(campaign.repeated).toBeGreaterThan(0);
    },
    10 * minutes,
  );

  it("gives another history to another seed", async () => {
    const [profile] = [profiles["swarm"]];
    if (profile === undefined) throw new Error("no profile");
    const one = await simulate({ seed: 1, profile, events: 500 });
    const two = await simulate({ seed: 2, profile, events: 500 });
    expect(one.hash).not.toBe(two.hash);
  });
});

describe("the checkers", () => {
  it(
    "find every mutant within its seeds",
    async () => {
      expect(mutants.length).toBeGreaterThanOrEqual(20);
      const lines: string[] = [];
      const verdicts = await killMutants(events, (line) => lines.push(line));
      console.log(lines.join("\n"));
      expect(verdicts.filter(({ isKilled }) => !isKilled)).toEqual([]);
    },
    10 * minutes,
  );
});

describe("the kernel", () => {
  it("runs events by time, and those of one time in an order of the seed", async () => {
    const order: number[] = [];
    const kernel = new Kernel(1);
    for (const [index, delayMs] of [30, 10, 20].entries()) {
      kernel.at(delayMs, null, "test", () => order.push(index));
    }
    await kernel.run(() => false, Infinity, Infinity);
    expect(order).toEqual([1, 2, 0]);
    const ties = new Set<string>();
    for (let seed = 1; seed < 20; seed += 1) {
      const tied: number[] = [];
      const other = new Kernel(seed);
      for (let index = 0; index < 3; index += 1) other.at(1, null, "tie", () => tied.push(index));
      await other.run(() => false, Infinity, Infinity);
      ties.add(tied.join());
    }
    expect(ties.size).toBeGreaterThan(1);
  });

  it("stops where it is told to and goes on from there", async () => {
    const kernel = new Kernel(1);
    let runs = 0;
    for (let index = 0; index < 5; index += 1) kernel.at(index, null, "test", () => (runs += 1));
    expect(await kernel.run(() => false, Infinity, 2)).toBe(false);
    expect(runs).toBe(2);
    expect(await kernel.run(() => false, Infinity, Infinity)).toBe(true);
    expect(runs).toBe(5);
  });
});

describe("a generator", () => {
  it("is the same for the same seed and stream, and another for another stream", () => {
    const draw = (seed: number, stream: string): string => {
      const random = new Random(seed, stream);
      return Array.from({ length: 8 }, () => random.next()).join();
    };
    expect(draw(7, "network")).toBe(draw(7, "network"));
    expect(draw(7, "network")).not.toBe(draw(7, "workload"));
    expect(draw(7, "network")).not.toBe(draw(8, "network"));
  });

  it("stays within its bounds and reaches both", () => {
    const random = new Random(3, "bounds");
    const drawn = Array.from({ length: 2_000 }, () => random.between(2, 5));
    expect([...new Set(drawn)].toSorted((a, b) => a - b)).toEqual([2, 3, 4, 5]);
    expect(Array.from({ length: 100 }, () => random.chance(0)).some(Boolean)).toBe(false);
  });
});
