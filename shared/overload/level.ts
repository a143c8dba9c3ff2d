import type {
  DegradationLevel,
  LevelCause,
  LevelEntry,
  LevelInputs,
  LevelPolicy,
  LevelRule,
} from "./level-policy.ts";

/** Where a cell's level stands. Plain data; a state is used once. */
export interface LevelState {
  readonly v: 1;
  readonly level: DegradationLevel;
  /** When the level was last changed, ms. */
  readonly sinceMs: number;
  /** Whether shards were lost when the level was raised, whichever input raised it. */
  readonly wasRaisedByLoss: boolean;
  /** Exponential mean of the saturation; null before the first look. */
  readonly saturation: number | null;
  readonly atMs: number;
  /** Since when each entry of each level is beyond its bound without a break, ms; keys `<level>:<cause>`. */
  readonly heldSinceMs: Readonly<Record<string, number>>;
  /** Since when all that the present level is left by holds, ms; null while it does not. */
  readonly calmSinceMs: number | null;
}

/** Why the level is what it is after a step: an input that raised it, calm that lowered it, or nothing new. */
export type LevelReason = LevelCause | "calm" | "unchanged";

/** The next state and why. */
export interface LevelStep {
  readonly state: LevelState;
  readonly reason: LevelReason;
}

/** Full service, nothing seen yet. */
export function newLevelState(nowMs: number): LevelState {
  return {
    v: 1,
    level: 0,
    sinceMs: nowMs,
    wasRaisedByLoss: false,
    saturation: null,
    atMs: nowMs,
    heldSinceMs: {},
    calmSinceMs: null,
  };
}

const raised = [4, 3, 2, 1] as const;

/** A number that is none is no evidence: it reads as the calm value. */
function sane(value: number, calm: number): number {
  return Number.isFinite(value) ? Math.max(0, value) : calm;
}

function smooth(state: LevelState, seen: number, nowMs: number, tauMs: number): number {
  if (state.saturation === null) return seen;
  const share = 1 - Math.exp(-Math.max(0, nowMs - state.atMs) / tauMs);
  return state.saturation + (seen - state.saturation) * share;
}

function isBeyond(entry: LevelEntry, inputs: LevelInputs): boolean {
  const value = inputs[entry.cause];
  return entry.cause === "healthyShare" ? value < entry.bound : value > entry.bound;
}

function isCalm(rule: LevelRule, inputs: LevelInputs): boolean {
  const { healthyShareAbove, queueDelayBelow, saturationBelow } = rule.leave;
  return (
    inputs.saturation < saturationBelow &&
    inputs.queueDelay < queueDelayBelow &&
    inputs.healthyShare > healthyShareAbove &&
    !rule.enter.some((entry) => isBeyond(entry, inputs))
  );
}

/**
 * Decides a cell's degradation level from what is seen of it now. A level is entered when one of its entries was beyond its
 * bound for the entry's hold, and levels are skipped on the way up; it is left for the one below when all that it is left by
 * held for its dwell, one level at a time, each with a dwell of its own. A level that was raised while shards were lost is left
 * sooner once they are back. Nothing but the cell's own inputs counts: a health KV
 * that is lost or lies raises no level. Call it several times within the shortest hold; a longer gap counts as one look.
 */
export function stepLevel(
  state: LevelState,
  given: LevelInputs,
  nowMs: number,
  policy: LevelPolicy,
): LevelStep {
  const saturation = smooth(state, sane(given.saturation, 0), nowMs, policy.saturationTauMs);
  const inputs: LevelInputs = {
    saturation,
    queueDelay: sane(given.queueDelay, 0),
    healthyShare: Math.min(1, sane(given.healthyShare, 1)),
    errorRatio: sane(given.errorRatio, 0),
  };
  const heldSinceMs: Record<string, number> = {};
  let cause: LevelCause | null = null;
  let wanted: DegradationLevel = 0;
  for (const level of raised) {
    for (const entry of policy.rules[level].enter) {
      if (!isBeyond(entry, inputs)) continue;
      const key = `${level}:${entry.cause}`;
      const sinceMs = Math.min(nowMs, state.heldSinceMs[key] ?? nowMs);
      heldSinceMs[key] = sinceMs;
      if (wanted !== 0 || nowMs - sinceMs < entry.heldMs) continue;
      wanted = level;
      ({ cause } = entry);
    }
  }
  const looked = { ...state, saturation, atMs: nowMs, heldSinceMs };
  if (cause !== null && wanted > state.level) {
    const wasRaisedByLoss = inputs.healthyShare < policy.healed.healthyShareMin;
    return {
      state: { ...looked, level: wanted, sinceMs: nowMs, wasRaisedByLoss, calmSinceMs: null },
      reason: cause,
    };
  }
  if (state.level === 0) return { state: { ...looked, calmSinceMs: null }, reason: "unchanged" };
  const rule = policy.rules[state.level];
  if (!isCalm(rule, inputs)) {
    return { state: { ...looked, calmSinceMs: null }, reason: "unchanged" };
  }
  const calmSinceMs = Math.min(nowMs, state.calmSinceMs ?? nowMs);
  const isHealed = state.wasRaisedByLoss && inputs.healthyShare >= policy.healed.healthyShareMin;
  const heldMs = isHealed ? Math.min(policy.healed.heldMs, rule.leave.heldMs) : rule.leave.heldMs;
  if (nowMs - calmSinceMs < heldMs) {
    return { state: { ...looked, calmSinceMs }, reason: "unchanged" };
  }
  return {
    state: { ...looked, level: below[state.level], sinceMs: nowMs, calmSinceMs: null },
    reason: "calm",
  };
}

const below: Readonly<Record<1 | 2 | 3 | 4, DegradationLevel>> = { 1: 0, 2: 1, 3: 2, 4: 3 };
