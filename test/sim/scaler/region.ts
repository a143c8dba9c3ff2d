import { createLeaseKeeper, defaultLeasePolicy } from "#regional/scaler/lease-keeper.ts";
import { createScaler, scalerTickMs } from "#regional/scaler/scaler.ts";
import type { Scaler } from "#regional/scaler/scaler.ts";
import type { PoolDescription, RegionScaling } from "#shared/config/scaling.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { DemandReport } from "#shared/scaling/demand-report.ts";
import { defaultScalePolicy } from "#shared/scaling/scale-model.ts";
import type { ScalePlan } from "#shared/scaling/scale-model.ts";
import { MemoryScalingStore } from "#test/support/memory-scaling-store.ts";
import { FakePlatform } from "./fake-platform.ts";

export const minuteMs = 60_000;
export const model = "sim/llama";

export function aPool(fields: Partial<PoolDescription> = {}): PoolDescription {
  return {
    id: "od",
    model,
    platform: "sagemaker",
    shards: ["eu-west-1a/llama-0" as ShardId],
    purchase: "on-demand",
    pricePerHourMicroUsd: 1_200_000,
    replicasPerInstance: 1,
    replicasMin: 1,
    replicasMax: 20,
    coldStartSeconds: 120,
    zones: ["a"],
    ...fields,
  };
}

/** As many spot pools as make spot count. */
export const spotPools: readonly PoolDescription[] = ["spot-a", "spot-b", "spot-c"].map((id) =>
  aPool({ id, purchase: "spot", pricePerHourMicroUsd: 400_000, replicasMin: 0 }),
);

/** What some pools were told to have in all. */
export function desiredOf(region: Region, pools: readonly PoolDescription[]): number {
  return pools.reduce((sum, { id }) => sum + region.desired(id), 0);
}

/** Demand of one cell, replicas. */
export interface Load {
  readonly protected: number;
  readonly other?: number;
}

/** What was to be seen at one moment. */
export interface Sample {
  readonly atMs: number;
  readonly ready: Readonly<Record<string, number>>;
  readonly desired: Readonly<Record<string, number>>;
}

interface CellOptions {
  readonly cell: string;
  /** What its wall clock shows too much. */
  readonly skewMs?: number;
  /** It has no shard of the model, and is offered nothing of it. */
  readonly isWithout?: boolean;
}

/** A region in virtual time: the production scaler of each cell, one database, one platform. */
export class Region {
  /** Time of the world; the database and the platform go by it. */
  nowMs = 1_700_000_000_000;
  readonly store = new MemoryScalingStore(() => this.nowMs);
  readonly platform: FakePlatform;
  readonly samples: Sample[] = [];
  readonly plans: ScalePlan[] = [];
  /** Which cell led when. */
  readonly leaders = new Map<string, number[]>();
  readonly scalers = new Map<string, Scaler>();
  load: (minute: number) => Load = () => ({ protected: 0 });
  /** What every cell tells of its shards' cold starts. */
  starts: DemandReport["starts"] = [];
  /** Cells that tell nothing and plan nothing for now. */
  readonly stopped = new Set<string>();
  readonly #startMs = this.nowMs;
  readonly #pools: readonly PoolDescription[];

  constructor(
    pools: readonly PoolDescription[],
    initial: Readonly<Record<string, number>>,
    cells: readonly CellOptions[] = [{ cell: "a" }],
  ) {
    this.#pools = pools;
    this.platform = new FakePlatform(() => this.nowMs, initial);
    const scaling: RegionScaling = {
      mode: "act",
      forecastStepSeconds: 600,
      shrinkAfterSeconds: 600,
      pools,
    };
    const owners = cells.filter(({ isWithout = false }) => !isWithout);
    for (const { cell, isWithout = false, skewMs = 0 } of cells) {
      const wallMs = (): number => this.nowMs + skewMs;
      this.scalers.set(
        cell,
        createScaler({
          cell,
          cellsOf: () => owners.map((one) => one.cell),
          fixedShards: new Map(),
          scaling,
          store: this.store,
          lease: createLeaseKeeper({
            store: this.store,
            holder: `${cell}-boot`,
            nowMs: wallMs,
            monotonicMs: () => this.nowMs,
            policy: defaultLeasePolicy,
          }),
          meter: {
            reports: () => (isWithout ? [] : [{ model, report: this.#report(owners.length) }]),
          },
          isOwn: () => true,
          preload: () => {},
          platformOf: () => this.platform,
          nowMs: wallMs,
          monotonicMs: () => this.nowMs,
          policy: defaultScalePolicy,
          observer: {
            planned: (plan) => void this.plans.push(plan),
            ordered: () => {},
            leads: (token) =>
              this.leaders.set(cell, [...(this.leaders.get(cell) ?? []), token ?? 0]),
          },
        }),
      );
    }
  }

  get minute(): number {
    return (this.nowMs - this.#startMs) / minuteMs;
  }

  #report(cells: number) {
    const { other = 0, protected: own } = this.load(this.minute);
    return {
      v: 1 as const,
      protected: own / cells,
      other: other / cells,
      burst: (own + other) / cells,
      backlogSeconds: 0,
      firstTokens: 0,
      lateTokens: 0,
      readyShards: [],
      starts: this.starts,
    };
  }

  /** Lets so many minutes pass. */
  async run(minutes: number): Promise<void> {
    const endMs = this.nowMs + minutes * minuteMs;
    while (this.nowMs < endMs) {
      this.nowMs += scalerTickMs;
      for (const [cell, scaler] of this.scalers) {
        if (!this.stopped.has(cell)) await scaler.tick();
      }
      const truth = this.#pools.map(({ id }) => [id, this.platform.truthOf(id)] as const);
      this.samples.push({
        atMs: this.nowMs,
        ready: Object.fromEntries(truth.map(([id, { ready }]) => [id, ready])),
        desired: Object.fromEntries(truth.map(([id, { desired }]) => [id, desired])),
      });
    }
  }

  ready(pool: string): number {
    return this.platform.truthOf(pool).ready;
  }

  desired(pool: string): number {
    return this.platform.truthOf(pool).desired;
  }

  lastPlan(): ScalePlan | undefined {
    return this.plans.at(-1);
  }
}

/** How often what a pool was told turned from up to down or back. */
export function turnsOf(region: Region, pool: string): number {
  const told = region.samples.map(({ desired }) => desired[pool] ?? 0);
  let turns = 0;
  let direction = 0;
  for (const [index, count] of told.entries()) {
    const step = Math.sign(count - (told[index - 1] ?? count));
    if (step === 0) continue;
    if (direction !== 0 && step !== direction) turns += 1;
    direction = step;
  }
  return turns;
}

/** The least that a pool was told to have. */
export function leastOf(region: Region, pool: string): number {
  return Math.min(...region.samples.map(({ desired }) => desired[pool] ?? 0));
}

/** The most that all pools together were told to have more within `windowMs`, as a factor of what they had. */
export function steepestGrowth(region: Region, windowMs: number): number {
  const totals = region.samples.map(({ atMs, desired }) => ({
    atMs,
    count: Object.values(desired).reduce((sum, one) => sum + one, 0),
  }));
  let steepest = 1;
  for (const from of totals) {
    for (const to of totals) {
      if (to.atMs <= from.atMs || to.atMs - from.atMs >= windowMs) continue;
      steepest = Math.max(steepest, to.count / Math.max(1, from.count));
    }
  }
  return steepest;
}
