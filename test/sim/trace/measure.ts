import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { FaultName, FaultTimes } from "./faults.ts";
import type { FleetShard } from "./fleet.ts";
import type { CellReport, ReplayResult, RequestRecord } from "./replay.ts";
import { floodTenant } from "./workload.ts";
import type { Arrival } from "./workload.ts";
import { recoveryOf } from "./recovery.ts";
import type { RecoveryReport } from "./recovery.ts";

/** Seconds below which that share of the values lies; 0 without values. */
export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** What a class got. `successRatio`: ended with an answer, of all that came, whatever it took; 1 when none came. */
export interface ClassReport {
  readonly requests: number;
  /** Share of all work that came, as the selection counts it with the real length. */
  readonly workShare: number;
  readonly ttftSeconds: Percentiles;
  /** Per request: its mean time per token after the first. */
  readonly itlSeconds: Percentiles;
  readonly successRatio: number;
  /** Answers within the promised times / requests. */
  readonly goodRatio: number;
  readonly shed: number;
}

/** What one replay of one policy showed; names are fixed by docs/simulation.md. Warm-up requests are not in it. */
export interface RunReport {
  readonly policy: string;
  readonly seed: number;
  /** Requests of the replay, warm-up included. */
  readonly replayed: number;
  /** Requests that some shard of the fleet could hold. */
  readonly requests: number;
  readonly unservable: number;
  readonly ttftSeconds: Percentiles;
  /** Per request: its mean time per token after the first. */
  readonly itlSeconds: Percentiles;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** Tokens that some shard had computed before and that were computed again. */
  readonly rePrefilledTokens: number;
  readonly preemptions: number;
  /** Answers within the promised times to first token and per token, per second of arrivals. */
  readonly goodputPerSecond: number;
  readonly goodRatio: number;
  /** Tokens of good answers per second of arrivals. */
  readonly goodTokensPerSecond: number;
  readonly shed: number;
  readonly failed: number;
  /** Jain's index of the tenants' shares of good answers; 1 is even. */
  readonly jain: number;
  readonly costPerMillionGoodTokensUsd: number;
  /** Mean over shards, of the time in which prompts came. */
  readonly busyShare: number;
  readonly classes: Readonly<Record<Priority, ClassReport>>;
  /** Share of good answers of all tenants but the flooding one, while it floods; null without a flood. */
  readonly othersGoodRatioInFlood: number | null;
  /** Only where a tenant floods. */
  readonly flood: FloodReport | null;
  /** Only where shards were struck. */
  readonly recovery: RecoveryReport | null;
  /** What a whole cell did beside choosing, warm-up included; null without `--mix`. */
  readonly cell: CellReport | null;
}

/** Shares of good answers around a flood. */
export interface FloodReport {
  /** Of all tenants but the flooding one, before and after it. */
  readonly othersOutside: number;
  /** Of them while it lasts, by class. */
  readonly others: Readonly<Record<Priority, number>>;
  /** Of the flooding tenant. */
  readonly own: number;
}

/** What a measurement reads. */
export interface MeasureInput {
  readonly policy: string;
  readonly seed: number;
  readonly arrivals: readonly Arrival[];
  readonly fleet: readonly FleetShard[];
  readonly result: ReplayResult;
  readonly fault: (FaultTimes & { readonly name: FaultName }) | null;
}

/** One request with its end. */
export interface Sample {
  readonly arrival: Arrival;
  readonly record: RequestRecord;
  readonly isGood: boolean;
}

/** Share of the arrivals' time that warms caches and is not counted. */
const warmUpShare = 0.2;

/** Nearest-rank percentiles. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).toSorted();
  const at = (share: number): number =>
    sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

function ttftOf({ record }: Sample): number {
  return (record.firstAtMs - record.arrivedAtMs) / 1_000;
}

function itlOf({ record }: Sample): number {
  return (record.endedAtMs - record.firstAtMs) / 1_000 / Math.max(1, record.outputTokens - 1);
}

function isGood(sample: Sample): boolean {
  const { ttftSloSeconds, itlSloSeconds } = defaultSelectionPolicy;
  return (
    sample.record.outcome === "done" &&
    ttftOf(sample) <= ttftSloSeconds[sample.arrival.priority] &&
    itlOf(sample) <= itlSloSeconds
  );
}

function workOfRequest({ arrival: { request } }: Sample): number {
  return request.inputTokens + 2 * request.outputTokens;
}

function itlPercentiles(samples: readonly Sample[]): Percentiles {
  return percentiles(
    samples.filter(({ record }) => record.outcome === "done" && record.outputTokens > 1).map(itlOf),
  );
}

function shareOf(samples: readonly Sample[], has: (sample: Sample) => boolean): number {
  return samples.length === 0 ? 1 : samples.filter(has).length / samples.length;
}

function classReport(samples: readonly Sample[], allWork: number): ClassReport {
  const work = samples.reduce((sum, sample) => sum + workOfRequest(sample), 0);
  return {
    requests: samples.length,
    workShare: work / Math.max(1, allWork),
    ttftSeconds: percentiles(samples.filter(({ record }) => record.firstAtMs >= 0).map(ttftOf)),
    itlSeconds: itlPercentiles(samples),
    successRatio: shareOf(samples, ({ record }) => record.outcome === "done"),
    goodRatio: shareOf(samples, ({ isGood: good }) => good),
    shed: samples.filter(({ record }) => record.outcome === "shed").length,
  };
}

function jainOf(samples: readonly Sample[]): number {
  const tenants = new Map<number, { all: number; good: number }>();
  for (const { arrival, isGood: good } of samples) {
    const counts = tenants.get(arrival.tenant) ?? { all: 0, good: 0 };
    counts.all += 1;
    if (good) counts.good += 1;
    tenants.set(arrival.tenant, counts);
  }
  const shares = [...tenants.values()].map(({ all, good }) => good / all);
  const sum = shares.reduce((total, share) => total + share, 0);
  const squares = shares.reduce((total, share) => total + share * share, 0);
  return squares === 0 ? 1 : (sum * sum) / (shares.length * squares);
}

function floodOf(
  { fault }: MeasureInput,
  samples: readonly Sample[],
): { readonly othersGoodRatioInFlood: number | null; readonly flood: FloodReport | null } {
  if (fault?.name !== "tenant-flood") return { othersGoodRatioInFlood: null, flood: null };
  const goodShare = (of: readonly Sample[]): number => shareOf(of, ({ isGood: good }) => good);
  const isIn = ({ record: { arrivedAtMs } }: Sample): boolean =>
    arrivedAtMs >= fault.fromMs && arrivedAtMs < fault.untilMs;
  const others = samples.filter(({ arrival }) => arrival.tenant !== floodTenant);
  const inFlood = others.filter(isIn);
  const ofClass = (priority: Priority): number =>
    goodShare(inFlood.filter(({ arrival }) => arrival.priority === priority));
  return {
    othersGoodRatioInFlood: goodShare(inFlood),
    flood: {
      othersOutside: goodShare(others.filter((sample) => !isIn(sample))),
      others: {
        critical: ofClass("critical"),
        interactive: ofClass("interactive"),
        standard: ofClass("standard"),
        batch: ofClass("batch"),
      },
      own: goodShare(samples.filter(({ arrival }) => arrival.tenant === floodTenant)),
    },
  };
}

/** Turns a replay into its report. */
export function measure(input: MeasureInput): RunReport {
  const { arrivals, fault, fleet, policy, result, seed } = input;
  const lastArrivalMs = arrivals.reduce((last, { atMs }) => Math.max(last, atMs), 1);
  const all = arrivals.flatMap((arrival, index): readonly Sample[] => {
    const record = result.records[index];
    if (record === undefined || record.arrivedAtMs < warmUpShare * lastArrivalMs) return [];
    const sample = { arrival, record, isGood: false };
    return [{ ...sample, isGood: isGood(sample) }];
  });
  const samples = all.filter(({ record }) => record.outcome !== "unservable");
  const good = samples.filter(({ isGood: fits }) => fits);
  const sum = (read: (sample: Sample) => number, of = samples): number =>
    of.reduce((total, sample) => total + read(sample), 0);
  const goodTokens = sum(({ record }) => record.outputTokens, good);
  const cachedTokens = sum(({ record }) => record.cachedTokens);
  const work = sum(workOfRequest);
  const seconds = ((1 - warmUpShare) * lastArrivalMs) / 1_000;
  const usdPerSecond = fleet.reduce((total, shard) => total + shard.usdPerHour, 0) / 3_600;
  const count = (outcome: RequestRecord["outcome"]): number =>
    samples.filter(({ record }) => record.outcome === outcome).length;
  const byClass = (priority: Priority): ClassReport =>
    classReport(
      samples.filter(({ arrival }) => arrival.priority === priority),
      work,
    );
  const [critical, interactive, standard, batch] = priorities;
  return {
    policy,
    seed,
    replayed: arrivals.length,
    requests: samples.length,
    unservable: all.length - samples.length,
    ttftSeconds: percentiles(samples.filter(({ record }) => record.firstAtMs >= 0).map(ttftOf)),
    itlSeconds: itlPercentiles(samples),
    promptTokens: sum(({ arrival }) => arrival.request.inputTokens),
    cachedTokens,
    rePrefilledTokens: Math.max(0, sum(({ record }) => record.reusableTokens) - cachedTokens),
    preemptions: result.preemptions,
    goodputPerSecond: good.length / seconds,
    goodRatio: shareOf(samples, ({ isGood: fits }) => fits),
    goodTokensPerSecond: goodTokens / seconds,
    shed: count("shed"),
    failed: count("failed"),
    jain: jainOf(samples),
    costPerMillionGoodTokensUsd:
      goodTokens === 0 ? 0 : ((usdPerSecond * seconds) / goodTokens) * 1e6,
    busyShare: result.busyShare,
    classes: {
      [critical]: byClass(critical),
      [interactive]: byClass(interactive),
      [standard]: byClass(standard),
      [batch]: byClass(batch),
    },
    ...floodOf(input, samples),
    recovery: recoveryOf(fault, result.detectedAtMs, samples),
    cell: result.cell,
  };
}
