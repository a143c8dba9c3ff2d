import type { PlanPolicy } from "./plan-policy.ts";

/** What is known of one model in one region. Work is counted in replicas: seconds of one replica per second. */
export interface PlanInput {
  /** When it was measured, ms; null: nothing is known. */
  readonly measuredAtMs: number | null;
  /** Replicas there are, those that start included. */
  readonly replicas: number;
  /** Demand to be ready for at the horizon: the forecast with its margin. */
  readonly demand: number;
  /** Demand of the last seconds (6 s of Knative's panic window). */
  readonly demandNow: number;
  /** Work that waits, replica-seconds, and how much it grows by the second. */
  readonly backlogSeconds: number;
  readonly backlogGrowth: number;
  /** Replicas without which too few would be left when the largest zone is lost; absent: none are kept for that. */
  readonly reserve?: number;
  /** Share of the last minute's first tokens that came later than their class may wait, 0..1; absent: too few to tell. */
  readonly lateShare?: number;
}

/** What the plan remembers. */
export interface PlanState {
  /** What was wanted in the last window, oldest first; the last of each minute is enough. */
  readonly wanted: readonly { readonly atMs: number; readonly replicas: number }[];
  /** The last step up. */
  readonly grewAtMs: number | null;
  /** When the present growth began, and from how many replicas: the bound of a horizon is measured from there. */
  readonly growth: { readonly sinceMs: number; readonly fromReplicas: number } | null;
  readonly shrankAtMs: number | null;
  readonly panickedAtMs: number | null;
}

/** Why the plan is what it is. */
export type PlanReason =
  | "steady"
  | "demandRises"
  | "backlog"
  /** First tokens come too late though demand alone wants no more. */
  | "late"
  /** Too few would be left when the largest zone is lost. */
  | "zoneReserve"
  | "panic"
  | "demandFalls"
  /** It would fall, and may not yet. */
  | "held"
  | "atMinimum"
  | "atMaximum"
  /** No input, an old one, or one that is no number: things stay as they are. */
  | "inputMissing";

/** How many replicas there shall be. */
export interface Plan {
  readonly replicas: number;
  /** What the load and the loss of a zone would want, before steps and bounds. */
  readonly wanted: number;
  readonly reason: PlanReason;
  readonly state: PlanState;
}

/** Nothing planned yet. */
export const newPlanState: PlanState = {
  wanted: [],
  grewAtMs: null,
  growth: null,
  shrankAtMs: null,
  panickedAtMs: null,
};

function isUsable(input: PlanInput, nowMs: number, { inputAgeMsMax }: PlanPolicy): boolean {
  const { backlogGrowth, backlogSeconds, demand, demandNow, measuredAtMs, replicas } = input;
  if (measuredAtMs === null || nowMs - measuredAtMs > inputAgeMsMax) return false;
  return [demand, demandNow, backlogSeconds, backlogGrowth, replicas].every(Number.isFinite);
}

/** Replicas for the demand at the horizon, with room for its noise, and for the backlog that will be there. */
function wantedOf(input: PlanInput, policy: PlanPolicy): { base: number; backlog: number } {
  const demand = Math.max(0, input.demand);
  const staffed = demand + policy.staffingBeta * Math.sqrt(demand);
  const base = Math.ceil(Math.max(demand / policy.utilisationMax, staffed));
  const growth = Math.max(0, input.backlogGrowth) * policy.horizonSeconds;
  const backlog = Math.ceil((growth + Math.max(0, input.backlogSeconds)) / policy.drainSeconds);
  return { base, backlog };
}

/** One more at a time while busy replicas answer too late: a sick or cold one is not helped by more. */
function lateWanted(
  state: PlanState,
  { demand, lateShare = 0 }: PlanInput,
  there: number,
  nowMs: number,
  policy: PlanPolicy,
): number {
  const isBusy = demand >= policy.lateLoadMin * there;
  const isLate = lateShare > policy.lateShareMax;
  return isLate && isBusy && !within(state.grewAtMs, policy.horizonSeconds * 1_000, nowMs)
    ? there + 1
    : 0;
}

function bounded(replicas: number, { replicasMax, replicasMin }: PlanPolicy): number {
  return Math.min(replicasMax, Math.max(replicasMin, replicas));
}

/** At most so many after one step down: whole replicas, one a minute at least. */
function floorOfStep(replicas: number, { shrinkPerMinute }: PlanPolicy): number {
  return replicas - Math.max(1, Math.floor(shrinkPerMinute * replicas));
}

/**
 * The plan of one model in one region: up at once, at most to `growthMax` times what there is; down by steps, a minute apart,
 * when the most of the last window allows it and nothing has grown lately; never outside its bounds; unchanged without
 * input. A burst beyond `panicLoad` times what there is doubles it and holds it.
 */
export function planCapacity(
  state: PlanState,
  input: PlanInput,
  nowMs: number,
  policy: PlanPolicy,
): Plan {
  const there = Number.isFinite(input.replicas) ? Math.max(0, Math.floor(input.replicas)) : 0;
  if (!isUsable(input, nowMs, policy)) {
    return { replicas: there, wanted: there, reason: "inputMissing", state };
  }
  const { backlog, base } = wantedOf(input, policy);
  const late = lateWanted(state, input, there, nowMs, policy);
  const { reserve = 0 } = input;
  const isForZone = reserve > Math.max(base + backlog, late);
  const wanted = Math.max(base + backlog, late, reserve);
  const recent = [
    ...state.wanted.filter(({ atMs }) => atMs > nowMs - policy.shrinkWindowMs && atMs <= nowMs),
    { atMs: nowMs, replicas: wanted },
  ];
  const seen: PlanState = { ...state, wanted: recent };
  // One panic at a time: its replicas have to come before they can be too few.
  const isPanic =
    input.demandNow > policy.panicLoad * Math.max(1, there) &&
    !within(state.panickedAtMs, policy.panicMs, nowMs);
  const growth =
    state.growth !== null && within(state.growth.sinceMs, policy.horizonSeconds * 1_000, nowMs)
      ? state.growth
      : { sinceMs: nowMs, fromReplicas: there };
  const ceiling = Math.ceil(policy.growthMax * Math.max(1, growth.fromReplicas));
  const doubled = Math.ceil(policy.growthMax * Math.max(1, there));
  // What was asked for a moment ago is on its way; a panic asks once more all the same, and no more than that.
  const target = bounded(isPanic ? doubled : Math.min(wanted, Math.max(ceiling, there)), policy);
  if (target > there) {
    const reason =
      there < policy.replicasMin && wanted <= policy.replicasMin
        ? "atMinimum"
        : isPanic
          ? "panic"
          : target === policy.replicasMax
            ? "atMaximum"
            : isForZone
              ? "zoneReserve"
              : base > there
                ? "demandRises"
                : late > base + backlog
                  ? "late"
                  : "backlog";
    const [isBound, isZone] = [reason === "atMinimum", reason === "zoneReserve"];
    const panickedAtMs = isPanic ? nowMs : state.panickedAtMs;
    return {
      replicas: target,
      wanted,
      reason,
      // A bound and a zone ask for what was there a moment ago and could not be seen yet: only load holds what it made grow.
      state: {
        ...seen,
        grewAtMs: isBound || isZone ? state.grewAtMs : nowMs,
        growth,
        panickedAtMs,
      },
    };
  }
  const most = bounded(Math.max(...recent.map(({ replicas }) => replicas)), policy);
  if (most >= there) {
    const reason =
      target < there
        ? "held"
        : there === policy.replicasMax
          ? "atMaximum"
          : isForZone
            ? "zoneReserve"
            : "steady";
    return { replicas: there, wanted, reason, state: seen };
  }
  const isHeld =
    within(state.grewAtMs, policy.holdMs, nowMs) ||
    within(state.panickedAtMs, policy.panicMs, nowMs) ||
    within(state.shrankAtMs, 60_000, nowMs) ||
    // Nothing falls before a whole window was seen.
    nowMs - (recent[0]?.atMs ?? nowMs) < policy.shrinkWindowMs - 60_000;
  if (isHeld) return { replicas: there, wanted, reason: "held", state: seen };
  const replicas = bounded(Math.max(most, floorOfStep(there, policy)), policy);
  return {
    replicas,
    wanted,
    reason: replicas === policy.replicasMin && most <= replicas ? "atMinimum" : "demandFalls",
    state: { ...seen, shrankAtMs: nowMs },
  };
}

function within(atMs: number | null, forMs: number, nowMs: number): boolean {
  return atMs !== null && nowMs - atMs < forMs;
}
