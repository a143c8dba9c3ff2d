import { spanOf } from "./timeline.ts";
import type { Timeline } from "./timeline.ts";

/** Seconds of the drill at which its phases begin; each lasts until the next. */
export interface Phases {
  readonly baseline: number;
  readonly fault: number;
  readonly recovery: number;
  readonly end: number;
}

/** How goodput must come back. */
export interface RecoveryPolicy {
  /** Of the baseline's goodput. */
  readonly shareMin: number;
  /** Goodput must hold for a window this long. */
  readonly windowSeconds: number;
  /** Latest begin of that window after the fault's end. */
  readonly secondsMax: number;
}

/** Back to 95 % within 60 s of the fault's end. A window of 10 s: one lucky second proves nothing. */
export const recoveryPolicy: RecoveryPolicy = {
  shareMin: 0.95,
  windowSeconds: 10,
  secondsMax: 60,
};

/**
 * Seconds from the fault's end to the first window in which every request of the flow has ended and its goodput is
 * `shareMin` of the baseline's; null when there is none that begins in time. The rates are the same in both, so goodput
 * is compared as the share of good answers among those sent.
 */
export function recoverySeconds(
  timeline: Timeline,
  flow: string,
  phases: Phases,
  policy: RecoveryPolicy = recoveryPolicy,
): number | null {
  const baseline = spanOf(timeline, flow, phases.baseline, phases.fault).goodShare;
  if (baseline === null || baseline === 0) return null;
  const lastBegin = Math.min(
    phases.recovery + policy.secondsMax,
    phases.end - policy.windowSeconds,
  );
  for (let begin = phases.recovery; begin <= lastBegin; begin += 1) {
    const span = spanOf(timeline, flow, begin, begin + policy.windowSeconds);
    if (span.goodShare === null || span.done < span.sent) continue;
    if (span.goodShare >= policy.shareMin * baseline) return begin - phases.recovery;
  }
  return null;
}
