import type { DemandDays } from "#dev/capacity/demand-days.ts";
import { demandStepSeconds } from "#dev/capacity/demand-days.ts";
import type { FleetOffer, FleetRegion } from "#dev/capacity/elastic-fleet.ts";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { ClassShares } from "#shared/scaling/fleet-demand.ts";
import { createClassQueues } from "./class-queues.ts";
import { drawArrivals } from "./demand-flow.ts";
import { latenciesAt, weights } from "./engine-curve.ts";
import type { EngineCurve } from "./engine-curve.ts";
import { createLatencyHistogram } from "./latency-histogram.ts";
import type { LatencyHistogram } from "./latency-histogram.ts";
import { createMarket } from "./market.ts";
import type { Lifetime } from "./market.ts";
import { scalers } from "./scalers.ts";

/** An offer with what a replica of it is thought to do and what it does. */
export interface DayOffer {
  readonly offer: FleetOffer;
  readonly unitsPerReplica: number;
  readonly estimatedPerSecond: number;
  readonly requestsPerSecond: number;
}

/** What a run of days is made from. */
export interface DayRunInput {
  readonly days: DemandDays;
  readonly region: FleetRegion;
  readonly offers: readonly DayOffer[];
  /** How the first offer's replicas answer; taken for all. */
  readonly curve: EngineCurve;
  readonly scaler: string;
  /** Factor on the rates. */
  readonly scale: number;
  readonly shares: ClassShares;
  /** Days that may be learnt from. */
  readonly learnDays: number;
  /** What is counted, ms; the whole is run. */
  readonly countFromMs: number;
  readonly countUntilMs: number;
  readonly seed: number;
}

/** What came of a class. */
export interface ClassFlow {
  offered: number;
  served: number;
  shed: number;
  good: number;
  readonly ttft: LatencyHistogram;
}

/** What a region's run showed in the time that is counted. */
export interface DayRun {
  readonly classes: Readonly<Record<Priority, ClassFlow>>;
  /** Requests that waited while replicas were starting, and how long. */
  readonly coldWaits: LatencyHistogram;
  readonly usd: number;
  readonly replicaSeconds: number;
  readonly unitSeconds: number;
  readonly busyUnitSeconds: number;
  readonly reclaims: number;
  readonly hours: number;
  /** Still in the queue at the end, and at the first counted moment. */
  readonly waitingAtEnd: number;
  readonly waitingAtStart: number;
  /** A point each minute of the whole run. */
  readonly curve: readonly {
    readonly atMs: number;
    readonly demandUnits: number;
    readonly held: number;
    readonly ready: number;
  }[];
  /** Requests that came, a number for each step of the whole run. */
  readonly arrivals: readonly number[];
  readonly lifetimes: readonly Lifetime[];
  readonly reasons: Readonly<Record<string, number>>;
}

/** Step of the flow, ms: Knative's panic window, the shortest time that any scaler looks at. */
export const flowStepMs = 6_000;
/** Every so many steps a scaler decides. */
const stepsPerDecision = 2;
const dayMs = 86_400_000;
const stepsPerMinute = 60_000 / flowStepMs;

interface Means {
  push(value: number): void;
  mean(): number;
}
function slidingMean(length: number): Means {
  const values: number[] = [];
  let sum = 0;
  return {
    push(value) {
      values.push(value);
      sum += value - (values.length > length ? (values.shift() ?? 0) : 0);
    },
    mean: () => (values.length === 0 ? 0 : sum / values.length),
  };
}

/** Runs one scaler over the days of one region, as a flow. Deterministic for equal input; demand is the same for every scaler. */
export function runDays(input: DayRunInput): DayRun {
  const { countFromMs, curve, days, learnDays, offers, region, seed, shares } = input;
  const scale = input.scale * region.demandShare;
  // Each has its own dice, so that a scaler that draws more cold starts does not change the demand.
  const regionSeed = Array.from(region.name).reduce(
    (sum, sign) => sum * 31 + (sign.codePointAt(0) ?? 0),
    seed,
  );
  const arrivalsRandom = seededRandom(regionSeed * 7_919 + 11);
  const market = createMarket(region, offers, seededRandom(regionSeed * 104_729 + 13));
  const estimated = offers[0]?.estimatedPerSecond ?? 1;
  const units = (requestsPerSecond: number): number => requestsPerSecond / estimated;
  const learnSteps = Math.min(days.rates.length, (learnDays * dayMs) / (1_000 * demandStepSeconds));
  // The run begins with enough for its first minutes, of the first offer.
  const firstUnits = units(scale * (days.rates[0] ?? 0));
  const firstName = offers[0]?.offer.name ?? "";
  market.set({ [firstName]: Math.max(region.replicasMin, Math.ceil(firstUnits / 0.7)) }, 0);
  market.settle(0);
  const make = scalers[input.scaler];
  if (make === undefined) throw new RangeError(`scaler ${input.scaler}: got none`);
  const scaler = make({
    shares,
    unitsMin: region.replicasMin,
    peakUnits: units(scale * Math.max(0, ...days.rates.slice(0, Math.max(1, learnSteps)))),
    firstUnits,
  });
  const queues = createClassQueues();
  const flow = (): ClassFlow => ({
    offered: 0,
    served: 0,
    shed: 0,
    good: 0,
    ttft: createLatencyHistogram(),
  });
  const classes: Record<Priority, ClassFlow> = {
    critical: flow(),
    interactive: flow(),
    standard: flow(),
    batch: flow(),
  };
  const coldWaits = createLatencyHistogram();
  const points: DayRun["curve"][number][] = [];
  const minute = { demand: slidingMean(stepsPerMinute), concurrency: slidingMean(stepsPerMinute) };
  const seconds = flowStepMs / 1_000;
  const endMs = days.rates.length * demandStepSeconds * 1_000;
  const countUntilMs = Math.min(endMs, input.countUntilMs);
  const arrivals: number[] = [];
  let busyUnitSeconds = 0;
  let stepSum = 0;
  let backlogBefore = 0;
  let inEngines = 0;
  const slots = offers[0]?.offer.concurrentRequestsMax ?? 1;
  const snapshot = (): { paid: typeof market.paid; shed: typeof queues.shed; waiting: number } => ({
    paid: { ...market.paid },
    shed: { ...queues.shed },
    waiting: queues.waiting(),
  });
  let atStart = snapshot();
  let atEnd: typeof atStart | null = null;
  let stepDemand: number | null = null;

  for (let step = 0; step * flowStepMs < endMs; step += 1) {
    const nowMs = step * flowStepMs;
    const isCounted = nowMs >= countFromMs && nowMs < countUntilMs;
    if (nowMs === countFromMs) atStart = snapshot();
    if (nowMs === countUntilMs) atEnd = snapshot();
    market.pass(nowMs, flowStepMs);
    const arrived = drawArrivals(days, scale, nowMs, flowStepMs, arrivalsRandom);
    arrivals.push(arrived);
    for (const priority of priorities) {
      const amount = shares[priority] * arrived;
      queues.add(priority, amount, nowMs);
      if (isCounted) classes[priority].offered += amount;
    }
    const capacity = market.capacity(nowMs);
    // Engines end what they have begun, and begin what has a slot: a burst fills slots before anybody waits.
    const readyReplicas = capacity / curve.requestsPerSecond;
    const ended = Math.min(
      capacity * seconds,
      (inEngines * seconds) / curve.residenceSeconds,
      inEngines,
    );
    inEngines -= ended;
    const room = Math.max(0, readyReplicas * slots - inEngines);
    const served = queues.serve(
      Math.min(room, readyReplicas * curve.promptsPerSecond * seconds),
      nowMs,
    );
    const amountServed = served.reduce((sum, { amount }) => sum + amount, 0);
    inEngines += amountServed;
    const held = [...market.held(nowMs).values()];
    const ready = held.reduce((sum, one) => sum + one.ready, 0);
    const all = held.reduce((sum, one) => sum + one.replicas, 0);
    if (isCounted) {
      busyUnitSeconds += ended / (offers[0]?.requestsPerSecond ?? 1);
      const latencies = latenciesAt(curve, capacity > 0 ? ended / (capacity * seconds) : 0);
      for (const { amount, priority, waitedMs } of served) {
        const into = classes[priority];
        into.served += amount;
        if (waitedMs > 0 && all > ready) coldWaits.add(waitedMs / 1_000, amount);
        const promised = defaultSelectionPolicy.ttftSloSeconds[priority];
        for (const [at, latency] of latencies.entries()) {
          const share = (weights[at] ?? 0) * amount;
          const ttft = waitedMs / 1_000 + latency;
          into.ttft.add(ttft, share);
          if (ttft <= promised) into.good += share;
        }
      }
    }
    const demandNow = units(arrived / seconds);
    minute.demand.push(demandNow);
    stepSum += demandNow;
    const stepsPerForecast = (1_000 * demandStepSeconds) / flowStepMs;
    if ((step + 1) % stepsPerForecast === 0) {
      stepDemand = stepSum / stepsPerForecast;
      stepSum = 0;
    }
    const backlogSeconds = queues.waiting() / estimated;
    // What is at work, and what waits, in those that a replica has when it is busy all the time.
    const concurrencyNow = units((inEngines + queues.waiting()) / curve.busyResidenceSeconds);
    minute.concurrency.push(concurrencyNow);
    if (step % stepsPerDecision === 0 || stepDemand !== null) {
      const wanted = scaler.decide({
        nowMs,
        demandNow,
        demandMinute: minute.demand.mean(),
        stepDemand,
        backlogSeconds,
        backlogGrowth: (backlogSeconds - backlogBefore) / seconds,
        concurrencyNow,
        concurrencyMinute: minute.concurrency.mean(),
        offers: market.offers(),
        held: market.held(nowMs),
      });
      stepDemand = null;
      market.set(wanted, nowMs);
      if (step === 0) market.settle(nowMs);
    }
    backlogBefore = backlogSeconds;
    if (step % stepsPerMinute === 0)
      points.push({ atMs: nowMs, demandUnits: minute.demand.mean(), held: all, ready });
  }
  const last = atEnd ?? snapshot();
  for (const priority of priorities)
    classes[priority].shed = last.shed[priority] - atStart.shed[priority];
  return {
    classes,
    coldWaits,
    usd: last.paid.usd - atStart.paid.usd,
    replicaSeconds: last.paid.replicaSeconds - atStart.paid.replicaSeconds,
    unitSeconds: last.paid.unitSeconds - atStart.paid.unitSeconds,
    busyUnitSeconds,
    reclaims: last.paid.reclaims - atStart.paid.reclaims,
    hours: (countUntilMs - countFromMs) / 3_600_000,
    waitingAtEnd: last.waiting,
    waitingAtStart: atStart.waiting,
    curve: points,
    arrivals,
    lifetimes: market.lifetimes(),
    reasons: Object.fromEntries(scaler.reasons),
  };
}
