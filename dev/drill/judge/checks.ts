import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import type { BreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { defaultLevelPolicy } from "#shared/overload/level-policy.ts";
import type { LevelPolicy } from "#shared/overload/level-policy.ts";
import { recoveryPolicy, recoverySeconds } from "./recovery.ts";
import type { Phases } from "./recovery.ts";
import { goodCode, spanOf } from "./timeline.ts";
import type { Timeline } from "./timeline.ts";

/** One thing that must hold, and what was seen. */
export interface Check {
  readonly name: string;
  readonly isOk: boolean;
  readonly seen: string;
}

/** The state of the system at the end of a drill, as the system itself tells it. */
export interface EndState {
  /** `meridian_overload_level` by cell; null where the cell has no such metric or does not answer. */
  readonly levels: Readonly<Record<string, number | null>>;
  /** Shards that are not in full use, with what they are instead. */
  readonly unusedShards: Readonly<Record<string, string>>;
  /** Parts whose process is another one than before, without those that the drill killed. */
  readonly restartedParts: readonly string[];
  /** Seconds after the fault's end from which every shard was in use; null when not all were at the end. */
  readonly shardsSeconds: number | null;
  /** Seconds after the fault's end from which every cell was at level 0; null when one was not at the end. */
  readonly levelSeconds: number | null;
  /** Highest level that a cell told during the drill; null when none told one. */
  readonly highestLevel: number | null;
}

/** What a drill promises of flows while the fault is on. */
export interface Expectation {
  readonly flow: string;
  /** Goodput while the fault is on, of the baseline's. */
  readonly shareMin: number;
  /** Prompts that may fail, late ones not counted; left out: as many as the share allows. */
  readonly failuresMax?: number;
}

/** What is judged. */
export interface Evidence {
  readonly timeline: Timeline;
  readonly phases: Phases;
  readonly expectations: readonly Expectation[];
  /** Flows that must come back after the fault. */
  readonly recovering: readonly string[];
  readonly end: EndState;
  readonly foreignAnswers: readonly string[];
  readonly abortReason: string | null;
}

/** A baseline below this share of good answers measures a system that was ill before the fault. */
const baselineShareMin = 0.95;

/** The checks that every drill makes, in the order of the report. */
export function judge(evidence: Evidence): readonly Check[] {
  const { timeline, phases, abortReason, foreignAnswers } = evidence;
  return [
    check("the drill was not aborted", abortReason === null, abortReason ?? "it ran to its end"),
    check(
      "no answer came from another jurisdiction",
      foreignAnswers.length === 0,
      foreignAnswers.length === 0 ? "none" : foreignAnswers.slice(0, 3).join("; "),
    ),
    ...[...timeline.flows.keys()].map((flow) => {
      const { goodShare, sent } = spanOf(timeline, flow, phases.baseline, phases.fault);
      const isOk = goodShare !== null && goodShare >= baselineShareMin;
      return check(`${flow} was well before the fault`, isOk, `${share(goodShare)} of ${sent}`);
    }),
    ...evidence.expectations.flatMap((expectation) => [
      keepsGoodput(evidence, expectation),
      ...boundsFailures(evidence, expectation),
    ]),
    ...evidence.recovering.map((flow) => comesBack(evidence, flow)),
    ...settles(evidence.end, phases.recovery - phases.fault),
  ];
}

/** A check with what was seen. */
export function check(name: string, isOk: boolean, seen: string): Check {
  return { name, isOk, seen };
}

function keepsGoodput({ timeline, phases }: Evidence, { flow, shareMin }: Expectation): Check {
  const before = spanOf(timeline, flow, phases.baseline, phases.fault).goodShare;
  const span = spanOf(timeline, flow, phases.fault, phases.recovery);
  const kept =
    before === null || before === 0 || span.goodShare === null ? null : span.goodShare / before;
  return check(
    `${flow} keeps ${share(shareMin)} of its goodput during the fault`,
    kept !== null && kept >= shareMin,
    `${share(kept)} of the baseline, ${span.good} good of ${span.sent}`,
  );
}

function boundsFailures(
  { timeline, phases }: Evidence,
  { failuresMax, flow }: Expectation,
): readonly Check[] {
  if (failuresMax === undefined) return [];
  const { codes } = spanOf(timeline, flow, phases.fault, phases.recovery);
  const failed = Object.entries(codes).filter(([code]) => code !== goodCode && code !== "late");
  const count = failed.reduce((sum, [, times]) => sum + times, 0);
  const seen = failed.map(([code, times]) => `${code} ${times}`).join(", ");
  const allowed = failuresMax === 0 ? "no" : `at most ${failuresMax}`;
  return [
    check(`${flow} has ${allowed} failed prompts meanwhile`, count <= failuresMax, seen || "none"),
  ];
}

function comesBack({ timeline, phases }: Evidence, flow: string): Check {
  const seconds = recoverySeconds(timeline, flow, phases);
  const { shareMin, secondsMax, windowSeconds } = recoveryPolicy;
  return check(
    `${flow} is back to ${share(shareMin)} within ${secondsMax} s of the fault's end`,
    seconds !== null,
    seconds === null
      ? `never for ${windowSeconds} s in the ${phases.end - phases.recovery} s watched`
      : `after ${seconds} s`,
  );
}

function settles(end: EndState, faultSeconds: number): readonly Check[] {
  const shardsBound = shardsSecondsMax(faultSeconds);
  const levels = Object.entries(end.levels);
  const isMetricThere = levels.some(([, level]) => level !== null);
  const raised = levels.filter(([, level]) => (isMetricThere ? level !== 0 : false));
  const unused = Object.entries(end.unusedShards);
  const levelsSeen = isMetricThere
    ? levels.map(([cell, level]) => `${cell} ${level ?? "tells none"}`).join(", ")
    : "no cell has the metric meridian_overload_level: taken as 0";
  const bound = levelSecondsMax(end.highestLevel ?? 0);
  return [
    check("every cell is at level 0 at the end", raised.length === 0, levelsSeen),
    check(
      `every cell is back at level 0 within ${bound} s, what its policy takes from level ${end.highestLevel ?? 0}`,
      end.levelSeconds !== null && end.levelSeconds <= bound,
      seenAfter(end.levelSeconds),
    ),
    check(
      "every shard is in use at the end",
      unused.length === 0,
      unused.length === 0 ? "all" : unused.map(([id, what]) => `${id} ${what}`).join(", "),
    ),
    check(
      `every shard is in use again within ${shardsBound} s, what its breaker takes after a fault of ${faultSeconds} s`,
      end.shardsSeconds !== null && end.shardsSeconds <= shardsBound,
      seenAfter(end.shardsSeconds),
    ),
    check(
      "no other process died",
      end.restartedParts.length === 0,
      end.restartedParts.length === 0 ? "none" : end.restartedParts.join(", "),
    ),
  ];
}

/**
 * A breaker that opens again and again while a fault lasts doubles its time, so that its last one, begun just before the fault's
 * end, is as long as all before it and one first time; then it wants its successes.
 */
export function shardsSecondsMax(
  faultSeconds: number,
  policy: BreakerPolicy = defaultBreakerPolicy,
): number {
  const openMs = Math.min(faultSeconds * 1_000 + policy.openMs, policy.openMsMax);
  return recoveryPolicy.secondsMax + Math.ceil((openMs * (1 + policy.jitterRatio)) / 1_000);
}

/** A cell comes down one level at a time, each after its own time below the bounds of leaving it. */
export function levelSecondsMax(highest: number, policy: LevelPolicy = defaultLevelPolicy): number {
  const heldMs = ([1, 2, 3, 4] as const)
    .filter((level) => level <= highest)
    .reduce<number>((sum, level) => sum + policy.rules[level].leave.heldMs, 0);
  return recoveryPolicy.secondsMax + heldMs / 1_000;
}

function seenAfter(seconds: number | null): string {
  return seconds === null ? "not at the end" : `after ${seconds} s`;
}

function share(value: number | null): string {
  return value === null ? "nothing" : `${(value * 100).toFixed(value < 1 ? 1 : 0)} %`;
}
