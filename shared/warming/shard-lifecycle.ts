import { expectedStartMs, remainingStartMs, withStart } from "./cold-start-time.ts";

/** What a shard is at the moment, as cells publish it. */
export const shardLifecycles = ["cold", "warming", "ready", "draining", "failed"] as const;
/**
 * `cold`: nothing runs and nobody has asked for it, or the region's plan does without it; `warming`: it was asked for and has not answered; `ready`: prompts may go
 * there; `draining`: it takes no new ones; `failed`: its breaker is open, or its start takes far too long.
 */
export type ShardLifecycle = (typeof shardLifecycles)[number];

/** What the platform does with a shard that nobody asks. */
export interface LifecyclePolicy {
  /** Idle time after which the platform takes it down, ms; null: never. */
  readonly scaleToZeroMs: number | null;
  /** Expected time of a cold start before any was seen, ms. */
  readonly coldStartMs: number;
}

/** Why a shard is what it is: metric label and log field. */
export type LifecycleReason =
  /** Nothing is known: up, because nobody said that its platform takes it down. */
  | "assumedReady"
  /** Nothing is known, and its platform takes idle shards down. */
  | "assumedCold"
  /** Nobody asked it for as long as the platform waits. */
  | "idle"
  /** It, or its platform, said that it is not running. */
  | "saidCold"
  /** A prompt is on its way to a cold shard. */
  | "woken"
  /** It answers. */
  | "answers"
  /** Its start takes several times as long as expected. */
  | "startTimeout"
  | "breaker"
  | "drained"
  /** The region's plan does without it: no prompt starts it. */
  | "scaledDown";

/** One shard's life as plain data. */
export interface LifecycleState {
  readonly kind: "cold" | "warming" | "ready";
  readonly reason: LifecycleReason;
  /** Of a warming shard: when its start began. */
  readonly sinceMs: number;
  /** Of a warming shard: whether it was seen cold; else it may have been warm all the time. */
  readonly isSeenCold: boolean;
  readonly isDraining: boolean;
  /** What the region's scaler does with it: nothing, it shall end, it has ended. */
  readonly scaled: "running" | "ending" | "stopped";
  /** Prompts on it now, warming ones included. */
  readonly running: number;
  /** Its platform's idle time counts from here. */
  readonly activeAtMs: number;
  /** How long its last cold starts took, ms. */
  readonly startsMs: readonly number[];
}

/** What happens to a shard. */
export type LifecycleEvent =
  /** A prompt goes to it: a client's, a canary, a warming one. */
  | { readonly kind: "sent" }
  /** The first token of one came. */
  | { readonly kind: "spoke" }
  /** One ended, however. */
  | { readonly kind: "ended" }
  /** One was answered with "not running". */
  | { readonly kind: "foundCold" }
  | { readonly kind: "drain"; readonly isDraining: boolean }
  | { readonly kind: "scaled"; readonly to: LifecycleState["scaled"] };

/** The next state, why it is that, and the cold start that has just ended, if one has. */
export interface LifecycleStep {
  readonly state: LifecycleState;
  readonly reason: LifecycleReason;
  /** Ms. */
  readonly startedInMs: number | null;
}

/** A shard as others may see it. */
export interface LifecycleView {
  readonly lifecycle: ShardLifecycle;
  readonly reason: LifecycleReason;
  /** Expected time until it answers if it is asked now, ms: 0 of a ready one, null where nobody can say. */
  readonly readyInMs: number | null;
}

/** An answer that comes this soon came from a shard that was up, ms: a container is not made in that time. */
const warmAnswerMs = 2_000;
/** A start that takes this many times its expected time, and at least a minute, has failed. */
const startFactorMax = 4;
const startFailedMsMin = 60_000;

/** A shard that nothing is known of: taken as up unless its platform takes idle ones down. */
export function newLifecycle({ scaleToZeroMs }: LifecyclePolicy, nowMs: number): LifecycleState {
  const isCold = scaleToZeroMs !== null;
  return {
    kind: isCold ? "cold" : "ready",
    reason: isCold ? "assumedCold" : "assumedReady",
    sinceMs: nowMs,
    isSeenCold: false,
    isDraining: false,
    scaled: "running",
    running: 0,
    activeAtMs: nowMs,
    startsMs: [],
  };
}

/** Whether the platform has taken a ready shard down by now. */
function isIdledOut(
  { activeAtMs, kind, running }: LifecycleState,
  nowMs: number,
  { scaleToZeroMs }: LifecyclePolicy,
): boolean {
  if (kind !== "ready" || scaleToZeroMs === null || running > 0) return false;
  return nowMs - activeAtMs >= scaleToZeroMs;
}

/** The state with what time alone has done to it. */
function settled(state: LifecycleState, nowMs: number, policy: LifecyclePolicy): LifecycleState {
  if (!isIdledOut(state, nowMs, policy)) return state;
  return { ...state, kind: "cold", reason: "idle", sinceMs: nowMs };
}

function begin(state: LifecycleState, isSeenCold: boolean, nowMs: number): LifecycleState {
  const reason = isSeenCold ? "saidCold" : "woken";
  return { ...state, kind: "warming", reason, sinceMs: nowMs, isSeenCold };
}

/** Steps one shard's life. Any order of events is taken: counters never fall below 0, and what tells nothing new changes nothing. */
export function stepLifecycle(
  before: LifecycleState,
  event: LifecycleEvent,
  nowMs: number,
  policy: LifecyclePolicy,
): LifecycleStep {
  const state = settled(before, nowMs, policy);
  const to = (next: LifecycleState, startedInMs: number | null = null): LifecycleStep => ({
    state: next,
    reason: next.reason,
    startedInMs,
  });
  switch (event.kind) {
    case "sent": {
      const sent = { ...state, running: state.running + 1, activeAtMs: nowMs };
      return to(state.kind === "cold" ? begin(sent, false, nowMs) : sent);
    }
    case "spoke": {
      const spoke: LifecycleState = {
        ...state,
        kind: "ready",
        reason: "answers",
        isSeenCold: false,
        activeAtMs: nowMs,
      };
      if (state.kind === "ready") return to(spoke);
      const tookMs = state.kind === "warming" ? Math.max(0, nowMs - state.sinceMs) : 0;
      const ready = { ...spoke, sinceMs: nowMs };
      if (!state.isSeenCold && tookMs < warmAnswerMs) return to(ready);
      return to({ ...ready, startsMs: withStart(state.startsMs, tookMs) }, tookMs);
    }
    case "ended":
      return to({ ...state, running: Math.max(0, state.running - 1), activeAtMs: nowMs });
    case "foundCold": {
      // Its start goes on from when it was asked for.
      if (state.kind === "warming") return to({ ...state, isSeenCold: true });
      return to(begin(state, true, nowMs));
    }
    case "drain":
      return to({ ...state, isDraining: event.isDraining });
    case "scaled":
      return to({ ...state, scaled: event.to });
  }
}

/** How long the shard's next cold start is expected to take, ms. */
export function coldStartMsOf(state: LifecycleState, { coldStartMs }: LifecyclePolicy): number {
  return expectedStartMs(state.startsMs, coldStartMs);
}

/** The shard at `nowMs`. `isBroken`: its breaker lets nothing through. */
export function viewLifecycle(
  before: LifecycleState,
  isBroken: boolean,
  nowMs: number,
  policy: LifecyclePolicy,
): LifecycleView {
  const state = settled(before, nowMs, policy);
  if (state.isDraining) return { lifecycle: "draining", reason: "drained", readyInMs: null };
  if (state.scaled !== "running") {
    const lifecycle = state.scaled === "ending" ? "draining" : "cold";
    return { lifecycle, reason: "scaledDown", readyInMs: null };
  }
  if (isBroken) return { lifecycle: "failed", reason: "breaker", readyInMs: null };
  const { kind, reason } = state;
  if (kind === "ready") return { lifecycle: kind, reason, readyInMs: 0 };
  const expectedMs = coldStartMsOf(state, policy);
  if (kind === "cold") return { lifecycle: kind, reason, readyInMs: Math.max(1, expectedMs) };
  const elapsedMs = nowMs - state.sinceMs;
  if (elapsedMs > Math.max(startFailedMsMin, startFactorMax * expectedMs)) {
    return { lifecycle: "failed", reason: "startTimeout", readyInMs: null };
  }
  return { lifecycle: kind, reason, readyInMs: remainingStartMs(expectedMs, elapsedMs) };
}
