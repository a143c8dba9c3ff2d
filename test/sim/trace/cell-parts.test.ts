import { describe, test } from "vitest";
import { profiles } from "#dev/simulated-engine/model/profiles.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { FaultName } from "./faults.ts";
import type { LevelReport } from "./cell-overload.ts";
import { nothingAllowed } from "./fleet.ts";
import type { FleetShard, TenantRules } from "./fleet.ts";
import { cellAblations, policies } from "./policies/catalogue.ts";
import { replay } from "./replay.ts";
import type { CellReport, ReplayResult } from "./replay.ts";
import type { Arrival } from "./workload.ts";

/** Requests of one class, evenly spaced. */
interface Stream {
  readonly priority: Priority;
  readonly perSecond: number;
  readonly fromS?: number;
  readonly untilS: number;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
}

const fleet: readonly FleetShard[] = Array.from({ length: 6 }, (_, at) => ({
  id: `shard-${at}`,
  profile: profiles["h100-8b"],
  concurrentRequestsMax: 32,
  usdPerHour: 4,
}));

function arrivalsOf(streams: readonly Stream[]): readonly Arrival[] {
  return streams
    .flatMap(({ fromS = 0, inputTokens = 800, outputTokens = 100, perSecond, priority, untilS }) =>
      Array.from({ length: Math.round((untilS - fromS) * perSecond) }, (_, at): Arrival => {
        const atMs = 1_000 * fromS + (1_000 * at) / perSecond;
        const request = {
          atMs,
          session: -1,
          lane: 0,
          inputTokens,
          outputTokens,
          chunks: [],
          thinkMs: 0,
          servedMs: 0,
        };
        return { atMs, thinkMs: 0, request, priority, tenant: at % 5, after: -1 };
      }),
    )
    .toSorted((left, right) => left.atMs - right.atMs);
}

interface Run {
  readonly without?: "timeouts" | "hedge" | "levels" | "health";
  readonly fault?: FaultName;
  readonly fromS?: number;
  readonly untilS?: number;
  readonly isWhole?: boolean;
}

type Ran = Omit<ReplayResult, "cell"> & { readonly cell: CellReport };

function run(arrivals: readonly Arrival[], change: Run = {}): Ran {
  const { fault: name, fromS = 30, isWhole = true, untilS = 60, without } = change;
  const policy =
    without === undefined ? policies["meridian"] : cellAblations[`meridian-no-${without}`];
  if (policy === undefined) throw new Error("no such policy");
  const fault =
    name === undefined ? null : { name, fromMs: 1_000 * fromS, untilMs: 1_000 * untilS };
  const result = replay({ arrivals, fleet, policy, seed: 3, hasAdmission: isWhole, fault });
  for (const { outcome } of result.records)
    if (outcome === "pending") throw new Error("a request has no end");
  if (result.cell === null) throw new Error("no whole cell");
  return { ...result, cell: result.cell };
}

/** Of requests that came in a time, the share that had its first token within so long. */
function withinMs({ records }: Ran, mostMs: number, fromS: number, untilS: number): number {
  const came = records.filter(
    ({ arrivedAtMs }) => arrivedAtMs >= 1_000 * fromS && arrivedAtMs < 1_000 * untilS,
  );
  const good = came.filter(
    ({ arrivedAtMs, firstAtMs, outcome }) =>
      outcome === "done" && firstAtMs >= 0 && firstAtMs - arrivedAtMs <= mostMs,
  );
  return good.length / came.length;
}

const calm = arrivalsOf([{ priority: "interactive", perSecond: 20, untilS: 90 }]);

describe("timeouts and retries of a simulated cell", () => {
  test("give up tries on a shard that says nothing, and answer them elsewhere", ({ expect }) => {
    const ours = run(calm, { fault: "hung-shard", without: "hedge" });
    const { late, overdue, retries, stalled } = ours.cell.tries;
    expect(late).toBeGreaterThan(0);
    expect(retries).toBeGreaterThanOrEqual(late);
    expect(stalled + overdue).toBeGreaterThan(0);
    expect(withinMs(ours, 10_000, 0, 90)).toBe(1);
    const patient = run(calm, { fault: "hung-shard", without: "timeouts" });
    expect(patient.cell.tries).toMatchObject({ late: 0, overdue: 0, stalled: 0 });
    const longest = ({ records }: Ran): number =>
      Math.max(...records.map(({ arrivedAtMs, endedAtMs }) => endedAtMs - arrivedAtMs));
    expect(longest(patient)).toBeGreaterThan(2 * longest(ours));
  });

  test("give up nothing while all shards are well", ({ expect }) => {
    const { late, overdue, retries, stalled } = run(calm).cell.tries;
    expect({ late, overdue, retries, stalled }).toStrictEqual({
      late: 0,
      overdue: 0,
      retries: 0,
      stalled: 0,
    });
  });

  test("retry within the budget: what it does not pay for fails", ({ expect }) => {
    // Many at once, and the shard dies before any of them is answered: more than the 20 that are saved up.
    const burst = arrivalsOf([
      { priority: "critical", perSecond: 2_000, untilS: 0.1, inputTokens: 3_000 },
    ]);
    const { cell, records } = run(burst, { fault: "lose-third", fromS: 0.11, untilS: 1_000 });
    const { retries, retriesRefused, turns } = cell.tries;
    expect(retries).toBeGreaterThan(0);
    expect(retries).toBeLessThanOrEqual(20 + 0.1 * turns + 1);
    expect(retriesRefused).toBeGreaterThan(0);
    expect(records.filter(({ outcome }) => outcome === "failed")).toHaveLength(retriesRefused);
  });
});

describe("hedges of a simulated cell", () => {
  test("are won where a shard is slow, within 2 % of turns and prompts", ({ expect }) => {
    const { cell } = run(calm, { fault: "hung-shard" });
    const { hedgePromptTokens, hedges, promptTokens, turns } = cell.tries;
    const begun = Object.values(hedges).reduce((sum, count) => sum + count, 0);
    expect(hedges.won).toBeGreaterThan(0);
    expect(begun).toBeLessThanOrEqual(1 + 0.02 * turns);
    expect(hedgePromptTokens).toBeLessThanOrEqual(4_096 + 0.02 * promptTokens);
    const none = run(calm, { fault: "hung-shard", without: "hedge" }).cell.tries;
    expect(Object.values(none.hedges)).toStrictEqual([0, 0, 0, 0, 0]);
  });

  test("count the prefill of the loser as wasted, and leave no trace of it", ({ expect }) => {
    const larger = arrivalsOf([
      { priority: "interactive", perSecond: 20, untilS: 60, inputTokens: 4_000 },
    ]);
    const { cell } = run(larger, { fault: "slow-shard" });
    const { hedgePromptTokens, hedgeWastedTokens, hedges } = cell.tries;
    expect(hedges.won + hedges.lost).toBeGreaterThan(0);
    expect(hedgeWastedTokens).toBeGreaterThan(0);
    // Of two that compute the same, at most one does so for nothing.
    expect(hedgeWastedTokens).toBeLessThanOrEqual(hedgePromptTokens);
  });

  test("are not for standard turns", ({ expect }) => {
    const standard = arrivalsOf([{ priority: "standard", perSecond: 20, untilS: 90 }]);
    const { hedges } = run(standard, { fault: "hung-shard" }).cell.tries;
    expect(Object.values(hedges)).toStrictEqual([0, 0, 0, 0, 0]);
  });
});

describe("degradation levels of a simulated cell", () => {
  const storm = arrivalsOf([
    { priority: "critical", perSecond: 20, untilS: 380 },
    { priority: "interactive", perSecond: 120, fromS: 20, untilS: 80, outputTokens: 1_500 },
    { priority: "standard", perSecond: 60, fromS: 20, untilS: 80, outputTokens: 700 },
    { priority: "batch", perSecond: 30, fromS: 20, untilS: 80, outputTokens: 200 },
  ]);

  const stormed = run(storm);

  test("rise under too much work, do what they say, and fall one by one", ({ expect }) => {
    const { levels } = stormed.cell;
    const reached = levels.changes.map(({ level }) => level);
    const highest = Math.max(...reached);
    expect(highest).toBeGreaterThanOrEqual(3);
    expect(reached.slice(reached.indexOf(highest as 3))).toStrictEqual(
      Array.from({ length: highest + 1 }, (_, down) => highest - down),
    );
    expect(levels.changes[0]?.atMs).toBeGreaterThan(20_000);
    expect(levels.refused.batchRejected + levels.refused.onlyCritical).toBeGreaterThan(0);
    expect(levels.refusedWorkTokens).toBeGreaterThan(0);
    expect(levels.answersCut).toBeGreaterThan(0);
    expect(levels.savedOutputTokens).toBeGreaterThan(0);
    const seconds = levels.secondsAt.reduce((sum, one) => sum + one, 0);
    expect(seconds).toBeGreaterThan(370);
  });

  test("cut no answer of the critical class, and refuse none of it", ({ expect }) => {
    const { records } = stormed;
    const critical = records.filter((_, at) => storm[at]?.priority === "critical");
    expect(critical.every(({ outcome }) => outcome === "done")).toBe(true);
    const capped = records.filter(
      ({ outcome, outputTokens }, at) =>
        outcome === "done" && outputTokens < (storm[at]?.request.outputTokens ?? 0),
    );
    expect(capped.length).toBeGreaterThan(0);
    for (const { outputTokens } of capped) expect([1_024, 512]).toContain(outputTokens);
  });

  test("are watched but do nothing where they are off", ({ expect }) => {
    const { levels } = run(storm, { without: "levels" }).cell;
    expect(levels).toMatchObject({ refusedWorkTokens: 0, answersCut: 0, batchDeferred: 0 });
  });

  test("keep batch back while the cell is busy, and let it go", ({ expect }) => {
    // Level 1 alone: full enough for it, and nobody waits.
    const busy = arrivalsOf([
      { priority: "interactive", perSecond: 70, untilS: 60, outputTokens: 150 },
      { priority: "batch", perSecond: 5, fromS: 30, untilS: 60 },
    ]);
    const { cell, records } = run(busy);
    expect(Math.max(...cell.levels.changes.map(({ level }) => level))).toBe(1);
    expect(cell.levels.batchDeferred).toBeGreaterThan(0);
    const batch = records.filter((_, at) => busy[at]?.priority === "batch");
    expect(batch.some(({ outcome }) => outcome === "done")).toBe(true);
  });
});

describe("what tenants allow of degradation levels", () => {
  const [big] = fleet;
  const small = { ...big, id: "small", isSmaller: true } as FleetShard;
  const two: readonly FleetShard[] = [...fleet.slice(0, 2), small];
  /** Twenty conversations whose prompts grow by 1,500 tokens a turn, while others keep the cell too busy. */
  const talks: readonly Arrival[] = [
    ...arrivalsOf([{ priority: "interactive", perSecond: 60, untilS: 100, outputTokens: 300 }]),
    ...arrivalsOf([{ priority: "standard", perSecond: 4, untilS: 100 }]).map((arrival, at) => {
      const session = at % 20;
      const turn = Math.floor(at / 20);
      const inputTokens = 1_500 * (turn + 1);
      const chunks = Array.from(
        { length: Math.floor(inputTokens / 512) },
        (_, chunk) => 1_000 * session + chunk,
      );
      return { ...arrival, request: { ...arrival.request, session, inputTokens, chunks } };
    }),
  ].toSorted((left, right) => left.atMs - right.atMs);

  function levelsWith(tenants: TenantRules): LevelReport {
    const policy = policies["meridian"];
    if (policy === undefined) throw new Error("no such policy");
    const common = { policy, seed: 3, hasAdmission: true, fault: null };
    const { cell } = replay({ ...common, arrivals: talks, fleet: two, tenants });
    if (cell === null) throw new Error("no whole cell");
    return cell.levels;
  }

  test("the smaller model answers, and long histories are cut", ({ expect }) => {
    const levels = levelsWith({ smallerModel: true, historyCut: true });
    expect(levels.smallerAnswers).toBeGreaterThan(0);
    expect(levels.historiesCut).toBeGreaterThan(0);
    // In steps of a quarter of the longest history that a standard turn may have.
    expect(levels.savedPromptTokens).toBeGreaterThanOrEqual(1_024 * levels.historiesCut);
  });

  test("nothing of it without their word", ({ expect }) => {
    const levels = levelsWith(nothingAllowed);
    expect(levels.secondsAt.slice(2).some((seconds) => seconds > 0)).toBe(true);
    expect(levels).toMatchObject({ smallerAnswers: 0, historiesCut: 0, savedPromptTokens: 0 });
  });
});

describe("health of a simulated cell's shards", () => {
  const long = arrivalsOf([{ priority: "interactive", perSecond: 60, untilS: 240 }]);

  test("takes weight from a slow shard by its own usual speed, and gives it back", ({ expect }) => {
    const times = { fault: "slow-shard", fromS: 60, untilS: 150 } as const;
    const { cell, detectedAtMs } = run(long, times);
    expect(detectedAtMs).toBeGreaterThan(60_000);
    expect(detectedAtMs).toBeLessThan(120_000);
    const [out, back] = cell.health.changes;
    expect(out).toMatchObject({ weight: 0, signal: "speed" });
    expect(back?.weight).toBeGreaterThan(0);
    const without = run(long, { ...times, without: "health" });
    expect(without.detectedAtMs).toBeNull();
    expect(without.cell.health.changes).toStrictEqual([]);
  });

  test("asks five canaries a minute whatever the fleet, as work on the engines", ({ expect }) => {
    const { health } = run(long).cell;
    expect(health.canaries).toBeGreaterThanOrEqual(19);
    expect(health.canaries).toBeLessThanOrEqual(21);
    expect(health.canaryTokens).toBe(40 * health.canaries);
    expect(run(long, { without: "health" }).cell.health).toMatchObject({
      canaries: 0,
      probes: 0,
    });
  });

  test("notices by its checks a shard that is gone while nobody asks for it", ({ expect }) => {
    const few = arrivalsOf([{ priority: "interactive", perSecond: 0.2, untilS: 90 }]);
    const seen = run(few, { fault: "lose-third" });
    expect(seen.detectedAtMs).toBeLessThan(45_000);
    const unseen = run(few, { fault: "lose-third", without: "health" });
    expect(unseen.detectedAtMs ?? Infinity).toBeGreaterThan(45_000);
  });

  test("believes its own counters where a shard tells of no load", ({ expect }) => {
    const liar = run(long, { fault: "liar", fromS: 60, untilS: 150 });
    // One of six works ten times slower: nearly all others are answered as ever.
    expect(withinMs(liar, 2_000, 90, 150)).toBeGreaterThan(0.98);
  });
});

test("equal input gives an equal replay, whatever happens in it", ({ expect }) => {
  const once = (): string => JSON.stringify(run(calm, { fault: "hung-shard" }));
  expect(once()).toBe(once());
});
