import { assignReplicas, isSpotCounted } from "./assign-replicas.ts";
import type { AssignablePool, Assignment } from "./assign-replicas.ts";
import { defaultBridgePolicy, lackingNow, placeBridge, stepBridge } from "./burst-bridge.ts";
import type { BridgePolicy, BridgeState } from "./burst-bridge.ts";
import { describeModelPlan } from "./describe-plan.ts";
import { expectDemand, lookAtDemand, newDemand } from "./expected-demand.ts";
import type { DemandState, WorkRates } from "./expected-demand.ts";
import { defaultForecastPolicy } from "./forecast-policy.ts";
import type { ForecastPolicy } from "./forecast-policy.ts";
import { newPlanState, planCapacity } from "./plan-capacity.ts";
import type { Plan, PlanReason, PlanState } from "./plan-capacity.ts";
import { defaultPlanPolicy } from "./plan-policy.ts";
import type { PlanPolicy } from "./plan-policy.ts";
import {
  newPoolState,
  noteOrder,
  noteShortage,
  shortMsDefault,
  viewSupply,
} from "./pool-supply.ts";
import type { PoolObservation, PoolState, PoolSupply } from "./pool-supply.ts";
import { startSecondsOf } from "./start-time.ts";
import { hasOtherZone, reserveOf } from "./zone-reserve.ts";
import type { ZoneCounts } from "./zone-reserve.ts";

/** A pool as the topology describes it. */
export interface ScalablePool {
  readonly id: string;
  readonly purchase: "reserved" | "on-demand" | "spot";
  readonly pricePerHourMicroUsd: number;
  readonly replicasPerInstance: number;
  readonly replicasMin: number;
  readonly replicasMax: number;
  readonly coldStartSeconds: number;
  /** Of its replicas, the first one first; all further ones are where the last one is. */
  readonly zones: readonly string[];
}

/** What the cells of a region were offered of a model, lately. */
export interface ModelDemand {
  /** When the oldest report that counts was made, ms. */
  readonly measuredAtMs: number;
  /** A cell of the region has told nothing lately: there may be more than this. */
  readonly isPartial: boolean;
  /** Of the last minute. */
  readonly rates: WorkRates;
  /** Of the last seconds, all classes. */
  readonly burst: number;
  /** Replica-seconds that wait in queues. */
  readonly backlogSeconds: number;
  /** Share of late first tokens; null: too few to tell. */
  readonly lateShare: number | null;
}

/** All that one plan is made from. */
export interface ScaleInput {
  readonly model: string;
  /** Null: nobody told anything. */
  readonly demand: ModelDemand | null;
  readonly pools: readonly (ScalablePool & {
    readonly seen: PoolObservation | null;
    /** Whether what is planned is also ordered; else nothing is expected to come of it. */
    readonly isOrdered: boolean;
    /** How long cold starts of its shards took by what the region's cells measured, ms. */
    readonly startsMs: readonly number[];
  })[];
  /** Replicas of the model in the region that no pool has, by zone: always there, and firm. */
  readonly fixed: ZoneCounts;
}

/** What the next plan needs to know; plain JSON. */
export interface ScaleState {
  readonly v: 1;
  readonly demand: DemandState;
  readonly total: PlanState;
  readonly firm: PlanState;
  readonly backlog: { readonly atMs: number; readonly seconds: number } | null;
  /** What was ordered beyond the plan, by pool, until slower replicas start. */
  readonly bridge: (BridgeState & { readonly byPool: Readonly<Record<string, number>> }) | null;
  readonly pools: Readonly<Record<string, PoolState>>;
}

/** Why a model's plan is what it is. */
export type ScaleReason =
  | PlanReason
  /** The pool to grow or to shrink could not be chosen without a price: things stay as they are. */
  | "priceMissing"
  /** A pool cannot be seen and never was: things stay as they are. */
  | "poolUnseen";

/** What one pool shall have. */
export interface PoolPlan {
  readonly pool: string;
  readonly replicas: number;
  readonly there: number;
  readonly ready: number;
  readonly isShort: boolean;
  /** Of the replicas: those that go as soon as others have started. */
  readonly bridge: number;
  /** From asking for a replica to its first answer, as the plan counts with it. */
  readonly startSeconds: number;
}

/** How many replicas of a model each pool of the region shall have, and why. */
export interface ScalePlan {
  readonly model: string;
  readonly reason: ScaleReason;
  /** The reason in words, with the numbers: no content, at most 200 characters. */
  readonly text: string;
  readonly there: number;
  readonly replicas: number;
  /** What the load, and the loss of a zone, would want. */
  readonly wanted: number;
  readonly firm: number;
  /** Wanted, and no pool may have them. */
  readonly unplaced: number;
  readonly pools: readonly PoolPlan[];
  readonly state: ScaleState;
}

/** All numbers of the scaler. */
export interface ScalePolicy {
  readonly plan: PlanPolicy;
  readonly bridge: BridgePolicy;
  readonly forecast: ForecastPolicy;
  readonly forecastStepMs: number;
  /** Added to the cold start: from asking to the first answer, seconds. */
  readonly startMarginSeconds: number;
  readonly shortMs: number;
  /** Share of the firm replicas that are left when the largest zone is lost which critical and interactive work may take. */
  readonly lostZoneUtilisation: number;
}

/** The routing rules' for scaling: L is the cold start's P95 and 30 s; reserved and on-demand replicas hold D/0.9 without the largest zone. */
export const defaultScalePolicy: ScalePolicy = {
  plan: defaultPlanPolicy,
  bridge: defaultBridgePolicy,
  forecast: defaultForecastPolicy,
  forecastStepMs: 600_000,
  startMarginSeconds: 30,
  shortMs: shortMsDefault,
  lostZoneUtilisation: 0.9,
};

/** A model that was never planned. */
export function newScaleState(policy: ScalePolicy): ScaleState {
  return {
    v: 1,
    demand: newDemand(policy.forecast),
    total: newPlanState,
    firm: newPlanState,
    backlog: null,
    bridge: null,
    pools: {},
  };
}

type Seen = ScaleInput["pools"][number] & {
  readonly supply: PoolSupply;
  readonly isFrozen: boolean;
  readonly startSeconds: number;
  /** Of what is there: what bridges, and what the plan counts with. */
  readonly bridge: number;
  readonly steady: number;
};

function isFirm({ purchase }: Pick<ScalablePool, "purchase">): boolean {
  return purchase !== "spot";
}

function sumOf<T>(list: readonly T[], value: (one: T) => number): number {
  return list.reduce((sum, one) => sum + value(one), 0);
}

/**
 * The plan of one model in one region. Demand with its margin, the backlog and late first tokens say how many replicas there
 * shall be; the same plan for critical and interactive work alone says how many of them may not be spot; then the pools share
 * them by price. Without input, or without sight of a pool, everything stays as it is.
 */
export function planModel(
  state: ScaleState,
  input: ScaleInput,
  nowMs: number,
  policy: ScalePolicy,
): ScalePlan {
  const startMs = (seconds: number): number => 1_000 * (seconds + policy.startMarginSeconds);
  const seen: Seen[] = [];
  for (const pool of input.pools) {
    const before = state.pools[pool.id] ?? newPoolState;
    const measured = [...pool.startsMs, ...before.startsMs];
    const startSeconds = startSecondsOf(measured, pool.coldStartSeconds);
    const supply = viewSupply(before, pool.seen, nowMs, {
      // One in twenty takes longer than what is planned for: short is only what takes longer than was declared, too.
      startMs: startMs(Math.max(startSeconds, pool.coldStartSeconds)),
      shortMs: policy.shortMs,
    });
    if (supply === null) continue;
    const bridge = state.bridge?.byPool[pool.id] ?? 0;
    const steady = steadyOf(supply, bridge);
    seen.push({ ...pool, supply, isFrozen: pool.seen === null, startSeconds, bridge, steady });
  }
  const pools = Object.fromEntries(seen.map(({ id, supply }) => [id, supply.state]));
  const looked: ScaleState = { ...state, pools: { ...state.pools, ...pools } };
  if (seen.length < input.pools.length) return keep(looked, input, seen, "poolUnseen");
  const { demand } = input;
  if (demand === null || nowMs - demand.measuredAtMs > policy.plan.inputAgeMsMax) {
    return keep(looked, input, seen, "inputMissing");
  }
  const stepMs = policy.forecastStepMs;
  const known = lookAtDemand(state.demand, demand.rates, { nowMs, stepMs }, policy.forecast);
  const horizonMs = Math.max(0, ...seen.map(({ startSeconds }) => startMs(startSeconds)));
  const expected = expectDemand(known, demand.rates, { horizonMs, stepMs });
  const fixed = fixedOf(input);
  const thereOf = (of: readonly Seen[]): number => sumOf(of, ({ steady }) => steady);
  const firmSeen = seen.filter(isFirm);
  const firmThere = fixed + thereOf(firmSeen);
  const pooled = seen.map(assignable);
  // With too few spot pools all work counts on firm replicas, and what there is of spot is beside the plan.
  const isSpot = isSpotCounted(pooled);
  const counted = isSpot ? seen : firmSeen;
  const beside = isSpot ? [] : seen.filter((pool) => !isFirm(pool));
  const there = fixed + thereOf(counted);
  const firmPools = pooled.filter((pool) => pool.isFirm);
  const left = hasOtherZone(firmPools, input.fixed)
    ? // A mean of equal values is a little more than they are.
      Math.ceil(expected.protected / policy.lostZoneUtilisation - 1e-9)
    : 0;
  const reserve = reserveOf(firmPools, input.fixed, left);
  const bounds = (of: readonly Seen[]): PlanPolicy => ({
    ...policy.plan,
    replicasMin: fixed + sumOf(of, ({ replicasMin }) => replicasMin),
    replicasMax: fixed + sumOf(of, ({ replicasMax }) => replicasMax),
    horizonSeconds: horizonMs / 1_000,
  });
  const planned = {
    measuredAtMs: demand.measuredAtMs,
    replicas: there,
    demand: expected.protected + expected.other,
    demandNow: demand.burst,
    backlogSeconds: demand.backlogSeconds,
    backlogGrowth: growthOf(state.backlog, demand.backlogSeconds, nowMs),
    reserve,
    ...(demand.lateShare === null ? {} : { lateShare: demand.lateShare }),
  };
  const total = planCapacity(state.total, planned, nowMs, bounds(counted));
  const quiet = { backlogSeconds: 0, backlogGrowth: 0, demandNow: 0 };
  const firm = planCapacity(
    state.firm,
    {
      measuredAtMs: demand.measuredAtMs,
      replicas: firmThere,
      demand: expected.protected,
      reserve,
      ...quiet,
    },
    nowMs,
    bounds(firmSeen),
  );
  const isDown = total.replicas < there && !demand.isPartial;
  const most = isDown ? total.replicas : Math.max(total.replicas, there);
  const assignment = assignReplicas(pooled, {
    total:
      most - fixed + (isDown ? sumOf(beside, ({ replicasMin }) => replicasMin) : thereOf(beside)),
    // The two plans step down a minute apart each on its own: the firm one, while it holds, must not hold the other one up.
    firm: (isSpot ? Math.min(firm.replicas, most) : most) - fixed,
    left,
    fixed: input.fixed,
    mayShrink: isDown,
  });
  const ready = sumOf(seen, ({ steady, supply }) => Math.min(steady, supply.ready));
  const { bridge, byPool } = bridgeOf(state.bridge, seen, assignment, nowMs, policy, {
    lacking: Math.min(
      Math.max(1, there),
      lackingNow(
        {
          demand: demand.rates.protected + demand.rates.other,
          backlogSeconds: demand.backlogSeconds,
          ready: fixed + ready,
        },
        policy.bridge,
      ),
    ),
    isPartial: demand.isPartial,
  });
  return conclude({
    byPool,
    state: {
      ...looked,
      bridge,
      demand: known,
      total: total.state,
      firm: firm.state,
      backlog: { atMs: nowMs, seconds: demand.backlogSeconds },
    },
    input,
    seen,
    total,
    firm,
    assignment,
    expected,
    isSpotBeside: beside.length > 0,
    isHeld: total.replicas < there && demand.isPartial,
    nowMs,
  });
}

/** What the plan counts with: without what bridges, but never less than was ordered for good as far as it is there. */
function steadyOf({ state, there }: PoolSupply, bridge: number): number {
  return Math.max(0, there - bridge, Math.min(there, (state.target ?? there) - bridge));
}

/** The bridge after this look, and how many replicas of it each pool has. */
function bridgeOf(
  before: ScaleState["bridge"],
  seen: readonly Seen[],
  { counts }: Assignment,
  nowMs: number,
  { bridge: policy }: ScalePolicy,
  { isPartial, lacking }: { readonly isPartial: boolean; readonly lacking: number },
): { readonly bridge: ScaleState["bridge"]; readonly byPool: ReadonlyMap<string, number> } {
  const stepped = stepBridge(before, lacking, nowMs, policy);
  // Where a cell tells nothing there may be more than is known: what bridges stays.
  const isLess = (stepped?.replicas ?? 0) < (before?.replicas ?? 0);
  const next = isPartial && isLess ? before : stepped;
  const byPool = placeBridge(
    seen.map((pool) => ({
      id: pool.id,
      isFirm: isFirm(pool),
      coldStartSeconds: pool.coldStartSeconds,
      room:
        pool.isFrozen || pool.supply.isShort || !pool.isOrdered
          ? 0
          : pool.replicasMax - (counts.get(pool.id) ?? pool.steady),
    })),
    next?.replicas ?? 0,
    policy,
  );
  const bridge =
    next === null || byPool.size === 0
      ? null
      : {
          replicas: next.replicas,
          neededAtMs: next.neededAtMs,
          byPool: Object.fromEntries(byPool),
        };
  return { bridge, byPool };
}

function fixedOf({ fixed }: ScaleInput): number {
  return sumOf(Object.values(fixed), (one) => one);
}

/** Seconds of work by which the backlog grows in a second. */
function growthOf(before: ScaleState["backlog"], seconds: number, nowMs: number): number {
  if (before === null || nowMs <= before.atMs) return 0;
  return ((seconds - before.seconds) * 1_000) / (nowMs - before.atMs);
}

function assignable(pool: Seen): AssignablePool {
  const { id, isFrozen, pricePerHourMicroUsd, purchase, supply } = pool;
  const isPaid = purchase === "reserved";
  return {
    id,
    isFirm: isFirm(pool),
    priceMicroUsd: isPaid ? 0 : pricePerHourMicroUsd === 0 ? null : pricePerHourMicroUsd,
    replicasPerInstance: pool.replicasPerInstance,
    replicasMin: pool.replicasMin,
    replicasMax: pool.replicasMax,
    there: pool.steady,
    isShort: supply.isShort,
    isFrozen,
    zones: pool.zones,
  };
}

function poolPlan({ id, startSeconds, supply }: Seen, replicas: number, bridge: number): PoolPlan {
  const { isShort, ready, there } = supply;
  return { pool: id, replicas, there, ready, isShort, bridge, startSeconds };
}

/** Everything stays as it is. */
function keep(
  state: ScaleState,
  input: ScaleInput,
  seen: readonly Seen[],
  reason: "inputMissing" | "poolUnseen",
): ScalePlan {
  const there = fixedOf(input) + sumOf(seen, ({ supply }) => supply.there);
  const plan = {
    model: input.model,
    reason,
    there,
    replicas: there,
    wanted: there,
    firm: 0,
    unplaced: 0,
    pools: seen.map((pool) => poolPlan(pool, pool.supply.there, pool.bridge)),
    state,
  };
  return { ...plan, text: describeModelPlan(plan, null) };
}

function conclude(facts: {
  readonly byPool: ReadonlyMap<string, number>;
  readonly state: ScaleState;
  readonly input: ScaleInput;
  readonly seen: readonly Seen[];
  readonly total: Plan;
  readonly firm: Plan;
  readonly assignment: Assignment;
  readonly expected: WorkRates;
  readonly isSpotBeside: boolean;
  readonly isHeld: boolean;
  readonly nowMs: number;
}): ScalePlan {
  const { assignment, byPool, expected, firm, input, isHeld, nowMs, seen, state, total } = facts;
  const { model } = input;
  const pools = seen.map((pool) => {
    // What cannot be seen stays as it was, its share of the bridge too.
    if (pool.isFrozen) return poolPlan(pool, pool.supply.there, pool.bridge);
    const bridge = byPool.get(pool.id) ?? 0;
    return poolPlan(pool, (assignment.counts.get(pool.id) ?? pool.steady) + bridge, bridge);
  });
  const ordered = { ...state.pools };
  const given = new Set(seen.filter(({ isOrdered }) => isOrdered).map(({ id }) => id));
  for (const { pool, replicas, there } of pools) {
    const before = ordered[pool] ?? newPoolState;
    if (given.has(pool) && replicas !== there)
      ordered[pool] = noteOrder(before, { target: replicas, there }, nowMs);
  }
  const plan = {
    model,
    reason: assignment.isPriceMissing
      ? ("priceMissing" as const)
      : isHeld
        ? ("held" as const)
        : total.reason,
    there: fixedOf(input) + sumOf(seen, ({ supply }) => supply.there),
    replicas: fixedOf(input) + sumOf(pools, ({ replicas }) => replicas),
    wanted: total.wanted,
    firm: firm.replicas,
    unplaced: assignment.unplaced,
    pools,
    state: { ...state, pools: ordered },
  };
  return {
    ...plan,
    text: describeModelPlan(plan, {
      expected,
      backlogSeconds: input.demand?.backlogSeconds ?? 0,
      isSpotBeside: facts.isSpotBeside,
    }),
  };
}

/** The state after a platform said that a pool has no more to give. */
export function noteQuotaRefusal(
  state: ScaleState,
  pool: string,
  nowMs: number,
  policy: ScalePolicy,
): ScaleState {
  const before = state.pools[pool] ?? newPoolState;
  return { ...state, pools: { ...state.pools, [pool]: noteShortage(before, nowMs, policy) } };
}
