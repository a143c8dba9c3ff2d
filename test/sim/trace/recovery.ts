import type { FaultName, FaultTimes } from "./faults.ts";
import type { Sample } from "./measure.ts";

/** What a fault did to good answers and for how long. */
export interface RecoveryReport {
  /** From the fault until the breakers of all struck shards had opened; null: they did not. */
  readonly detectionSeconds: number | null;
  /** Failed, not shed, of critical and interactive prompts that came after the detection (without one: after the fault). */
  readonly interactiveErrorRatioAfterDetection: number;
  /** Of all prompts that came from the fault on. */
  readonly errorRatio: number;
  /** Good answers before the fault, 0..1. */
  readonly goodRatioBefore: number;
  /** While it lasted. */
  readonly goodRatioDuring: number;
  /**
   * From the fault, or from its end where it has one, until good answers are at 95 % of before, twice in a row of 5 s; null:
   * not within the replay.
   */
  readonly recoverySeconds: number | null;
}

/** Window of the recovery, ms. */
const windowMs = 5_000;
/** How long before the fault is the measure of health, ms. */
const beforeMs = 60_000;

/** Share of good answers among prompts that came in [from, to); null without any. */
function goodRatio(samples: readonly Sample[], from: number, to: number): number | null {
  let [all, good] = [0, 0];
  for (const { isGood, record } of samples) {
    if (record.arrivedAtMs < from || record.arrivedAtMs >= to) continue;
    all += 1;
    if (isGood) good += 1;
  }
  return all === 0 ? null : good / all;
}

/** Measures a fault of shards; null without one. */
export function recoveryOf(
  fault: (FaultTimes & { readonly name: FaultName }) | null,
  detectedAtMs: number | null,
  samples: readonly Sample[],
): RecoveryReport | null {
  if (fault === null || fault.name === "tenant-flood") return null;
  const { fromMs, untilMs } = fault;
  const struck = samples.filter(({ record }) => record.arrivedAtMs >= fromMs);
  const interactive = struck.filter(
    ({ arrival: { priority }, record }) =>
      (priority === "critical" || priority === "interactive") &&
      record.arrivedAtMs >= (detectedAtMs ?? fromMs),
  );
  const failedShare = (of: readonly Sample[]): number =>
    of.length === 0 ? 0 : of.filter(({ record }) => record.outcome === "failed").length / of.length;
  const before = goodRatio(samples, fromMs - beforeMs, fromMs) ?? 1;
  const endMs = samples.reduce((last, { record }) => Math.max(last, record.arrivedAtMs), 0);
  const startMs = untilMs === Infinity ? fromMs : untilMs;
  let recoverySeconds: number | null = null;
  let inRow = 0;
  for (let from = startMs; from + windowMs <= endMs; from += windowMs) {
    inRow = (goodRatio(samples, from, from + windowMs) ?? 1) >= 0.95 * before ? inRow + 1 : 0;
    if (inRow < 2) continue;
    recoverySeconds = (from - windowMs - startMs) / 1_000;
    break;
  }
  return {
    detectionSeconds: detectedAtMs === null ? null : (detectedAtMs - fromMs) / 1_000,
    interactiveErrorRatioAfterDetection: failedShare(interactive),
    errorRatio: failedShare(struck),
    goodRatioBefore: before,
    goodRatioDuring: goodRatio(samples, fromMs, Math.min(untilMs, endMs)) ?? 1,
    recoverySeconds,
  };
}
