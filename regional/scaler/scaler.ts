import type { PoolDescription, RegionScaling } from "#shared/config/scaling.ts";
import { formatReport, parseReport, sumReports } from "#shared/scaling/demand-report.ts";
import type { DemandReport } from "#shared/scaling/demand-report.ts";
import {
  plannedMsMax,
  plannedShards,
  readPlannedReplicas,
} from "#shared/scaling/planned-shards.ts";
import type { PoolObservation } from "#shared/scaling/pool-supply.ts";
import { newScaleState, noteQuotaRefusal, planModel } from "#shared/scaling/scale-model.ts";
import type { ScalePlan, ScalePolicy, ScaleState } from "#shared/scaling/scale-model.ts";
import { formatScaleState, parseScaleState } from "#shared/scaling/scale-state.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Platform } from "../ports/platform.ts";
import type { ScalingStore, StoredDemand } from "../ports/scaling-store.ts";
import type { DemandMeter } from "./demand-meter.ts";
import { createOrderGiver, platformCallMs } from "./give-order.ts";
import type { OrderResult } from "./give-order.ts";
import type { HeldLease, LeaseKeeper } from "./lease-keeper.ts";

/** Between two looks, ms: a panic is a matter of seconds. */
export const scalerTickMs = 5_000;
/** Time for one call of the database, ms. */
const databaseMs = 2_000;
/** What a plan wants warm is wanted for this long without another look, ms. */
const preloadMs = 3 * scalerTickMs;
/** A plan that changes nothing is kept this often, for the next leader, ms. */
const keepMs = 60_000;

/** Told what the scaler does; synchronous, must not throw. */
export interface ScalerObserver {
  /** A model was planned; `isNew` when the plan says something else than the one before. */
  planned(plan: ScalePlan, isNew: boolean): void;
  ordered(pool: string, replicas: number, result: OrderResult): void;
  /** This cell has begun or stopped to lead. */
  leads(token: number | null): void;
}

export interface ScalerOptions {
  readonly cell: string;
  /** Cells of the region that have shards of a model: those that are offered work of it. */
  readonly cellsOf: (model: string) => readonly string[];
  /** Shards of each model in the region that no pool has, with the zones of their cells. */
  readonly fixedShards: ReadonlyMap<
    string,
    readonly { readonly id: string; readonly zone: string }[]
  >;
  readonly scaling: RegionScaling;
  readonly store: ScalingStore;
  readonly lease: LeaseKeeper;
  readonly meter: Pick<DemandMeter, "reports">;
  /** Shards of this cell. */
  readonly isOwn: (shard: ShardId) => boolean;
  /** A plan wants so many of the cell's shards of a model warm until then, also those that start only for a prompt. */
  readonly preload: (model: string, shards: number, untilMs: number) => void;
  /** Null: nothing can see or change the pool. */
  readonly platformOf: (pool: PoolDescription) => Platform | null;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly policy: ScalePolicy;
  readonly observer: ScalerObserver;
}

/** The scaler of one cell: it tells the region what the cell is offered, and plans and acts while it holds the lease. */
export interface Scaler {
  /** One look; a second one meanwhile is skipped. Never rejects. */
  tick(): Promise<void>;
  /** The last plans that this cell made as leader. */
  plans(): readonly ScalePlan[];
  /** Waits for what runs, then gives the lease up. */
  stop(): Promise<void>;
}

interface Led {
  readonly token: number;
  readonly states: Map<string, ScaleState>;
}

interface Kept {
  readonly plan: string;
  readonly atMs: number;
}

/** The scaler of one cell; see {@link Scaler}. */
export function createScaler(options: ScalerOptions): Scaler {
  const { lease, meter, monotonicMs, nowMs, observer, policy, scaling, store } = options;
  const models = [...new Set(scaling.pools.map(({ model }) => model))];
  const orders = createOrderGiver(
    (pool) => (scaling.mode === "act" ? options.platformOf(pool) : null),
    nowMs,
  );
  const plans = new Map<string, ScalePlan>();
  const kept = new Map<string, Kept>();
  let led: Led | null = null;
  let running: Promise<void> | null = null;
  let isStopped = false;

  function soon(): number {
    return nowMs() + databaseMs;
  }

  /** The states that the last leader left; null when they cannot be read: nothing is planned without them. */
  async function takeOver(held: HeldLease): Promise<Led | null> {
    if (led?.token === held.token) return led;
    const stored = await store.plans(soon());
    if (stored === "unavailable") return null;
    const states = new Map<string, ScaleState>();
    for (const { ageMs, model, state } of stored) {
      const stepMs = policy.forecastStepMs;
      const parsed = parseScaleState(state, { ageMs, nowMs: nowMs(), stepMs });
      if (parsed !== null) states.set(model, parsed);
    }
    led = { token: held.token, states };
    kept.clear();
    observer.leads(held.token);
    return led;
  }

  function readReports(rows: readonly StoredDemand[], model: string) {
    const reports = new Map<string, { readonly report: DemandReport; readonly ageMs: number }>();
    for (const { ageMs, cell, model: of, report } of rows) {
      const parsed = of === model ? parseReport(report) : null;
      if (parsed !== null) reports.set(cell, { report: parsed, ageMs });
    }
    return reports;
  }

  async function see(
    pool: PoolDescription,
    readyShards: ReadonlySet<string>,
  ): Promise<PoolObservation | null> {
    const platform = options.platformOf(pool);
    if (platform !== null) {
      return platform.observe(pool, readyShards, AbortSignal.timeout(platformCallMs));
    }
    // What nothing can change is as large as what answers.
    const ready = pool.shards.filter((shard) => readyShards.has(shard)).length;
    return { desired: ready, ready };
  }

  async function planOne(model: string, rows: readonly StoredDemand[], now: Led): Promise<void> {
    const reports = readReports(rows, model);
    const ageMsMax = policy.plan.inputAgeMsMax;
    const fresh = [...reports.values()].filter(({ ageMs }) => ageMs <= ageMsMax);
    const readyShards = new Set(fresh.flatMap(({ report }) => report.readyShards));
    const pools = scaling.pools.filter((pool) => pool.model === model);
    const seen = await Promise.all(pools.map((pool) => see(pool, readyShards)));
    const plannedAtMs = nowMs();
    // A start that was measured is no older for its cell being away.
    const starts = [...reports.values()].flatMap(({ report }) => report.starts);
    const fixed: Record<string, number> = {};
    for (const { id, zone } of options.fixedShards.get(model) ?? [])
      if (readyShards.has(id)) fixed[zone] = (fixed[zone] ?? 0) + 1;
    const acts = scaling.mode === "act";
    const plan = planModel(
      now.states.get(model) ?? newScaleState(policy),
      {
        model,
        demand: sumReports(options.cellsOf(model), reports, { ageMsMax, nowMs: plannedAtMs }),
        pools: pools.map((pool, index) => ({
          ...pool,
          seen: seen[index] ?? null,
          isOrdered: acts && options.platformOf(pool) !== null,
          startsMs: starts
            .filter(({ shard }) => pool.shards.some((id) => id === shard))
            .flatMap(({ ms }) => ms),
        })),
        fixed,
      },
      plannedAtMs,
      policy,
    );
    now.states.set(model, plan.state);
    if (!(await keepPlan(plan, now, plannedAtMs))) return;
    for (const [index, pool] of pools.entries()) {
      await order(plan, pool, seen[index] ?? null, now, plannedAtMs);
    }
  }

  /** Whether the plan may be acted on: it is durable under a lease that holds, so that the next leader knows of it. */
  async function keepPlan(plan: ScalePlan, now: Led, plannedAtMs: number): Promise<boolean> {
    const { firm, model, reason, replicas, text, unplaced, wanted } = plan;
    const pools = plan.pools.map(({ isShort, pool, ready, replicas: count, there }) => ({
      pool,
      there,
      ready,
      replicas: count,
      isShort,
    }));
    const mode = scaling.mode;
    const written = JSON.stringify({ v: 1, mode, reason, replicas, wanted, firm, unplaced, pools });
    const before = kept.get(model);
    const isNew = before?.plan !== written;
    plans.set(model, plan);
    observer.planned(plan, isNew);
    if (!isNew && before !== undefined && plannedAtMs - before.atMs < keepMs) return true;
    const row = {
      model,
      token: now.token,
      plan: JSON.stringify({ ...(JSON.parse(written) as object), text }),
      state: formatScaleState(plan.state, plannedAtMs),
    };
    const result = await store.keepPlan(row, soon());
    if (result === "fenced") lease.lose();
    if (result !== "written") return false;
    kept.set(model, { plan: written, atMs: plannedAtMs });
    return true;
  }

  async function order(
    plan: ScalePlan,
    pool: PoolDescription,
    seen: PoolObservation | null,
    now: Led,
    plannedAtMs: number,
  ): Promise<void> {
    const poolPlan = plan.pools.find((one) => one.pool === pool.id);
    if (poolPlan === undefined || seen === null) return;
    const { replicas, there } = poolPlan;
    // A pool that gives less than it was told keeps its orders; it is not told to have less for that.
    const isChange = replicas > Math.max(seen.desired, 0) || replicas < there;
    if (!isChange) return;
    const held = lease.current();
    if (held?.token !== now.token) return;
    const result = await orders.give({
      pool,
      seen,
      order: { pool: pool.id, replicas, plannedAtMs, token: now.token },
      leftMs: held.untilMs - monotonicMs(),
    });
    observer.ordered(pool.id, replicas, result);
    const state = now.states.get(plan.model);
    if (result === "quotaRefused" && state !== undefined) {
      now.states.set(plan.model, noteQuotaRefusal(state, pool.id, nowMs(), policy));
    }
    if (result === "fenced") lease.lose();
  }

  /** Has the cell start what the region's plan counts on, whichever cell leads: a platform that starts shards for prompts has no other lever. */
  async function preload(): Promise<void> {
    if (scaling.mode !== "act") return;
    const stored = await store.plans(soon());
    if (stored === "unavailable") return;
    for (const { ageMs, model, plan } of stored) {
      const planned = ageMs > plannedMsMax ? null : readPlannedReplicas(plan);
      if (planned === null) continue;
      const pools = scaling.pools.filter((pool) => pool.model === model);
      const shards = plannedShards(pools, planned, options.isOwn);
      options.preload(model, shards, nowMs() + preloadMs);
    }
  }

  async function look(): Promise<void> {
    await lead();
    await preload();
  }

  async function lead(): Promise<void> {
    const reports = meter
      .reports()
      .map(({ model, report }) => ({ model, report: formatReport(report) }));
    await store.report(options.cell, reports, soon());
    const held = await lease.renew();
    const now = held === null ? null : await takeOver(held);
    if (now === null) {
      if (led !== null && held === null) observer.leads(null);
      if (held === null) led = null;
      return;
    }
    const rows = await store.demand(soon());
    // Without the database nothing is planned: what runs goes on running.
    if (rows === "unavailable") return;
    for (const model of models) {
      if (lease.current()?.token !== now.token) return;
      await planOne(model, rows, now);
    }
  }

  return {
    tick() {
      if (isStopped) return Promise.resolve();
      running ??= look().finally(() => {
        running = null;
      });
      return running;
    },
    plans: () => (lease.current() === null ? [] : [...plans.values()]),
    async stop() {
      isStopped = true;
      await running;
      await lease.release();
    },
  };
}
