import { setTimeout as wait } from "node:timers/promises";
import { seededRandom } from "../simulated-engine/model/step-time.ts";
import type { Drill, DrillContext, Fault } from "./drills/drill.ts";
import { check, judge, levelSecondsMax, shardsSecondsMax } from "./judge/checks.ts";
import type { Check } from "./judge/checks.ts";
import type { Phases } from "./judge/recovery.ts";
import { recoveryPolicy, recoverySeconds } from "./judge/recovery.ts";
import { createTimeline } from "./judge/timeline.ts";
import type { Timeline } from "./judge/timeline.ts";
import { startTraffic } from "./load/traffic.ts";
import type { DrillName, DrillOptions } from "./options.ts";
import type { DrilledSystem } from "./system/drilled-system.ts";
import { partsOf } from "./system/processes.ts";
import { isEveryShardUsed, isLevelZero, readSystemState } from "./system/system-state.ts";
import type { SystemState } from "./system/system-state.ts";
import { startWatch } from "./watch.ts";
import type { MemoryPeaks } from "./watch.ts";

/** What a drill saw, for the report. */
export interface DrillResult {
  readonly name: DrillName;
  readonly title: string;
  readonly system: string;
  readonly seed: number;
  readonly phases: Phases;
  readonly timeline: Timeline;
  readonly flows: DrilledSystem["flows"];
  readonly checks: readonly Check[];
  readonly notes: readonly string[];
  readonly highestLevel: number | null;
  readonly memoryPeaks: MemoryPeaks;
}

/** Connections, compiled code and first scrapes: seconds of traffic that are not part of the baseline. */
const warmUpSeconds = 8;
/** Goodput and shards are waited for as long as they may take, and the window in which they must show. */
const goodputSecondsMax = recoveryPolicy.secondsMax + recoveryPolicy.windowSeconds + 5;
/** A bound that is just missed is seen to be missed. */
const marginSeconds = 15;
/** A system that was just started may still be finding its shards. */
const readySecondsMax = 60;
const pollMs = 500;

/** Where a drill writes what happens and how it is stopped from outside. */
export interface DrillIo {
  readonly log: (line: string) => void;
  /** Aborted by Ctrl-C; its reason is the abort reason. */
  readonly signal: AbortSignal;
}

/**
 * Runs one drill against a system that is well: baseline, fault, recovery. Whatever happens the fault is ended (unless it is
 * to be kept), and no request of the drill is under way when this resolves.
 */
export async function runDrill(
  name: DrillName,
  drill: Drill,
  system: DrilledSystem,
  options: DrillOptions,
  io: DrillIo,
): Promise<DrillResult> {
  const random = seededRandom(options.seed);
  const timeline = createTimeline(system.flows.map((flow) => flow.name));
  const aborting = new AbortController();
  const signal = AbortSignal.any([aborting.signal, io.signal]);
  await untilSettled(system, signal);
  const before = new Map(partsOf(system.file()).map(({ name: part, pid }) => [part, pid]));
  const watch = startWatch(system, drill.abort, (reason) => aborting.abort(reason));
  const traffic = startTraffic(system.flows, {
    edgeUrl: system.file().edge.url,
    model: system.model,
    random,
    timeline,
    onEnded: watch.onEnded,
    onShard: watch.onShard,
  });
  signal.addEventListener("abort", () => {
    io.log(`ABORTED: ${String(signal.reason)}`);
    traffic.halt();
  });
  const { answering } = watch;
  const context: DrillContext = {
    system,
    traffic,
    answering,
    options,
    random,
    signal,
    log: io.log,
  };
  const fault = drill.prepare(context);
  let phases: Phases;
  let recovery: Recovery | null = null;
  try {
    await untilSecond(traffic.second, warmUpSeconds + options.baselineSeconds, signal);
    const faultSecond = traffic.second();
    const baseline = Math.min(warmUpSeconds, faultSecond);
    io.log(`baseline taken for ${faultSecond - baseline} s`);
    await runFault(fault, options, signal);
    const recoverySecond = traffic.second();
    phases = { baseline, fault: faultSecond, recovery: recoverySecond, end: recoverySecond };
    recovery = await watchRecovery(
      {
        system,
        timeline,
        second: traffic.second,
        signal,
        highestLevel: watch.highestLevel,
        watchSeconds: options.watchSeconds,
      },
      phases,
      drill.recovering(system.flows, system.jurisdiction),
    );
    phases = { ...phases, end: traffic.second() };
  } finally {
    if (!options.isFaultKept) await fault.end();
    await traffic.stop();
    watch.stop();
  }
  const killed = new Set(fault.killedParts);
  const after = new Map(partsOf(system.file()).map(({ name: part, pid }) => [part, pid]));
  const restartedParts = [...before]
    .filter(([part, pid]) => !killed.has(part) && after.get(part) !== pid)
    .map(([part]) => part);
  const checks = judge({
    timeline,
    phases,
    expectations: drill.expectations(system.flows, system.jurisdiction),
    recovering: drill.recovering(system.flows, system.jurisdiction),
    end: { ...recovery, highestLevel: watch.highestLevel(), restartedParts },
    foreignAnswers: watch.foreignAnswers(),
    abortReason: signal.aborted ? String(signal.reason) : null,
  });
  return {
    name,
    title: drill.title,
    system: system.description,
    seed: options.seed,
    phases,
    timeline,
    flows: system.flows,
    checks: [...fault.checks(), ...checks, ...endChecks(traffic.inFlight())],
    notes: [`${traffic.tries()} requests were sent, repeats included.`],
    highestLevel: watch.highestLevel(),
    memoryPeaks: watch.memoryPeaks(),
  };
}

function endChecks(inFlight: number): readonly Check[] {
  return [check("no request of the drill is under way", inFlight === 0, `${inFlight}`)];
}

async function runFault(fault: Fault, options: DrillOptions, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await fault.begin();
  await fault.hold();
  if (!options.isFaultKept) await fault.end();
}

/** The last seen state, and since when it is as before. */
interface Recovery extends SystemState {
  readonly shardsSeconds: number | null;
  readonly levelSeconds: number | null;
}

/** Watches, without doing anything, until goodput, shards and levels are as before, or until time is over. */
async function watchRecovery(
  watched: {
    readonly system: DrilledSystem;
    readonly timeline: Timeline;
    readonly second: () => number;
    readonly highestLevel: () => number | null;
    readonly watchSeconds: number | null;
    readonly signal: AbortSignal;
  },
  phases: Phases,
  recovering: readonly string[],
): Promise<Recovery> {
  const { system, timeline, second, signal } = watched;
  let shardsSeconds: number | null = null;
  let levelSeconds: number | null = null;
  for (;;) {
    const state = await readSystemState(system.file());
    const now = second();
    const since = now - phases.recovery;
    // A state that comes and goes is not reached: the last time that it was not counts.
    shardsSeconds = isEveryShardUsed(state) ? (shardsSeconds ?? since) : null;
    levelSeconds = isLevelZero(state) ? (levelSeconds ?? since) : null;
    const isBack =
      shardsSeconds !== null &&
      recovering.every((flow) => recoverySeconds(timeline, flow, { ...phases, end: now }) !== null);
    const levelBound = levelSecondsMax(watched.highestLevel() ?? 0) + marginSeconds;
    const shardsBound = shardsSecondsMax(phases.recovery - phases.fault) + marginSeconds;
    const isOver =
      since >= (watched.watchSeconds ?? Number.POSITIVE_INFINITY) ||
      ((isBack || since >= Math.max(goodputSecondsMax, shardsBound)) &&
        (levelSeconds !== null || since >= levelBound));
    if (isOver || signal.aborted) return { ...state, shardsSeconds, levelSeconds };
    await holdBriefly(signal);
  }
}

async function untilSettled(system: DrilledSystem, signal: AbortSignal): Promise<void> {
  const until = performance.now() + readySecondsMax * 1_000;
  while (performance.now() < until && !signal.aborted) {
    const state = await readSystemState(system.file());
    if (isEveryShardUsed(state) && isLevelZero(state)) return;
    await holdBriefly(signal);
  }
}

async function untilSecond(second: () => number, wanted: number, signal: AbortSignal) {
  while (second() < wanted && !signal.aborted) await holdBriefly(signal);
}

async function holdBriefly(signal: AbortSignal): Promise<void> {
  await wait(pollMs, undefined, { signal }).catch(() => undefined);
}
