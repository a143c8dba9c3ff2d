import { fleetCapacity, uncachedTokens } from "#dev/capacity/replica-capacity.ts";
import type { Trace } from "#dev/capacity/request-trace.ts";
import type { FleetOffer } from "#dev/capacity/elastic-fleet.ts";
import { UsageError } from "#dev/capacity/usage-error.ts";
import type { FleetShard } from "../fleet.ts";
import { policies } from "../policies/catalogue.ts";
import { replay } from "../replay.ts";
import { makeWorkload } from "../workload.ts";

/**
 * How fast replicas of one hardware answer, measured by the request-level simulator. `latencies[i][j]`: seconds to first token at
 * `loads[i]`, below which `levels[j]` of the requests lie.
 */
export interface EngineCurve {
  /** Requests per second of one replica that never idles. */
  readonly requestsPerSecond: number;
  /** Prompts per second that one replica computes when it does nothing else. */
  readonly promptsPerSecond: number;
  /** From a request's start to its end, mean, seconds: where replicas have little to do, and at the highest measured load. */
  readonly residenceSeconds: number;
  readonly busyResidenceSeconds: number;
  /** Shares of {@link requestsPerSecond}, ascending. */
  readonly loads: readonly number[];
  readonly latencies: readonly (readonly number[])[];
}

/** Levels of the latencies; each stands for the shares up to half way to its neighbours. */
export const levels: readonly number[] = [
  0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.925, 0.9625, 0.985, 0.9925, 0.9965, 0.999,
];
/** What each level stands for. */
export const weights: readonly number[] = levels.map((level, at) => {
  const below = at === 0 ? 0 : (level + (levels[at - 1] ?? 0)) / 2;
  const above = at === levels.length - 1 ? 1 : (level + (levels[at + 1] ?? 1)) / 2;
  return above - below;
});

/** Replicas that are measured together: selection among them is part of what is measured. */
const replicas = 4;
/** Loads that are measured, in the estimated capacity. */
const measuredLoads = [0.3, 0.5, 0.7, 0.85] as const;
/** A load at which no replica idles. */
const fullLoad = 1.6;
/** Share of the arrivals' time in which the engines fill. */
const warmUpShare = 0.2;

interface Measured {
  readonly perSecond: number;
  readonly latencies: readonly number[];
  readonly residenceSeconds: number;
}

function measureAt(
  trace: Trace,
  fleet: readonly FleetShard[],
  load: number,
  seed: number,
): Measured {
  const policy = policies["meridian"];
  if (policy === undefined) throw new RangeError("policy meridian: got none");
  const arrivals = makeWorkload({
    trace,
    part: "first",
    fleet,
    seed,
    load,
    mix: null,
    floodMix: null,
  });
  const { records } = replay({ arrivals, fleet, policy, seed, hasAdmission: false, fault: null });
  const endMs = arrivals.reduce((last, { atMs }) => Math.max(last, atMs), 1);
  const startMs = warmUpShare * endMs;
  const done = records.filter(
    ({ endedAtMs, outcome }) => outcome === "done" && endedAtMs >= startMs && endedAtMs <= endMs,
  );
  const seconds = records
    .filter(({ arrivedAtMs, firstAtMs }) => firstAtMs >= 0 && arrivedAtMs >= startMs)
    .map(({ arrivedAtMs, firstAtMs }) => (firstAtMs - arrivedAtMs) / 1_000)
    .toSorted((left, right) => left - right);
  return {
    perSecond: (done.length * 1_000) / (endMs - startMs),
    residenceSeconds:
      done.reduce((sum, { arrivedAtMs, endedAtMs }) => sum + endedAtMs - arrivedAtMs, 0) /
      Math.max(1, done.length) /
      1_000,
    latencies: levels.map((level) => seconds[Math.ceil(level * seconds.length) - 1] ?? 0),
  };
}

/** Requests that a trace needs for it: half of them are replayed, and the engines have to fill. */
const requestsLeast = 1_000;

/**
 * Measures four replicas of an offer on the first half of a trace. Deterministic for one seed.
 * @throws UsageError for a trace too short to fill them.
 */
export function measureCurve(trace: Trace, offer: FleetOffer, seed: number): EngineCurve {
  if (trace.requests.length < requestsLeast)
    throw new UsageError(
      `--trace: got ${trace.requests.length} requests, wanted ${requestsLeast} at least to measure replicas with`,
    );
  const { concurrentRequestsMax, name, profile } = offer;
  const fleet = Array.from({ length: replicas }, (_, at) => ({
    id: `${name}-${at}`,
    profile,
    concurrentRequestsMax,
    usdPerHour: 1,
  }));
  const estimated = fleetCapacity(trace.requests, fleet) / replicas;
  const requestsPerSecond = Math.max(
    estimated / 10,
    measureAt(trace, fleet, fullLoad, seed).perSecond / replicas,
  );
  const measured = measuredLoads
    .map((load) => ({
      load: (load * estimated) / requestsPerSecond,
      ...measureAt(trace, fleet, load, seed),
    }))
    .filter(({ load }) => load <= 1);
  const { computeMsPerToken } = profile;
  const prefillSeconds = (uncachedTokens(trace.requests) * computeMsPerToken) / 0.85 / 1_000;
  return {
    requestsPerSecond,
    promptsPerSecond: Math.max(requestsPerSecond, 1 / prefillSeconds),
    residenceSeconds: measured[0]?.residenceSeconds ?? 1,
    busyResidenceSeconds: measured.at(-1)?.residenceSeconds ?? 1,
    loads: measured.map(({ load }) => load),
    latencies: measured.map(({ latencies }) => latencies),
  };
}

/** Seconds to first token at a load, one for each level: between the measured loads a straight line. */
export function latenciesAt({ latencies, loads }: EngineCurve, load: number): readonly number[] {
  const above = loads.findIndex((measured) => measured >= load);
  if (above < 0) return latencies.at(-1) ?? [];
  if (above === 0) return latencies[0] ?? [];
  const [low, high] = [loads[above - 1] ?? 0, loads[above] ?? 1];
  const share = (load - low) / (high - low);
  return (latencies[above] ?? []).map((value, at) => {
    const before = latencies[above - 1]?.[at] ?? value;
    return before + share * (value - before);
  });
}
