import * as z from "zod";
import { showValue } from "./topology-problem.ts";
import type { TopologyProblem } from "./topology-problem.ts";
import type { TopologyFile } from "./topology.ts";
import type { RegionId, ShardId } from "../residency/brands.ts";

const name = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, "lower-case letters, digits and dashes, at most 32");
const replicas = z.int().min(0).max(1_000);

/** Demand of one step makes one value of the forecast: 10 minutes, as its back-test has it (docs/capacity.md). */
const forecastStepSecondsDefault = 600;
/** How long less must have been enough before anything goes: 10 minutes, as the routing rules for scaling have it. */
const shrinkAfterSecondsDefault = 600;
/** A SageMaker instance with an 8B model and a container cache, P50 (AWS, June 2026); what is measured replaces it. */
const coldStartSecondsDefault = 260;
/** A pool that starts slower may not go to zero: nobody waits longer than this for a first token. */
const zeroColdStartSecondsMax = 75;

const poolSchema = z.strictObject({
  model: z.string().min(1).max(128),
  /** One by one started and stopped where they are simulated; else one, whose copies or containers are the replicas. */
  shards: z.array(z.string()).min(1).max(256),
  replicasMin: replicas,
  replicasMax: replicas.min(1),
  /** From asking for a replica to its first answer, P95. */
  coldStartSeconds: z.number().min(0).max(3_600).optional(),
  /** Copies that fit on one instance; the price is an instance's. */
  replicasPerInstance: z.int().min(1).max(64).optional(),
});

/** `scaling.<region>`: how many replicas of its models a region may have, and whether its scaler acts or only writes plans. */
export const scalingSchema = z.strictObject({
  mode: z.enum(["plan-only", "act"]),
  forecastStepSeconds: z.int().min(1).max(3_600).optional(),
  /** How long less must have been enough before anything goes; shorter where a start takes seconds. At least the minute of one step. */
  shrinkAfterSeconds: z.int().min(60).max(3_600).optional(),
  pools: z.record(name, poolSchema),
});

type ScalingFile = z.infer<typeof scalingSchema>;
type PoolFile = z.infer<typeof poolSchema>;

/** What starts and stops the replicas of a pool; `none`: nothing can, its plans are only written. */
export type PoolPlatform = "process" | "sagemaker" | "modal" | "none";

/** Replicas of one model that one thing can have more or fewer of. */
export interface PoolDescription {
  readonly id: string;
  readonly model: string;
  readonly platform: PoolPlatform;
  readonly shards: readonly ShardId[];
  readonly purchase: "reserved" | "on-demand" | "spot";
  /** Of one instance; 0: unknown, unless it is reserved and so paid for in any case. */
  readonly pricePerHourMicroUsd: number;
  readonly replicasPerInstance: number;
  readonly replicasMin: number;
  readonly replicasMax: number;
  readonly coldStartSeconds: number;
  /** Of the shards as they are listed, which is where their cells are: a cell that is lost takes its shards with it. */
  readonly zones: readonly string[];
}

/** What the scaler of a region may do. */
export interface RegionScaling {
  readonly mode: ScalingFile["mode"];
  readonly forecastStepSeconds: number;
  readonly shrinkAfterSeconds: number;
  readonly pools: readonly PoolDescription[];
}

const platforms: Readonly<Record<string, PoolPlatform>> = {
  simulated: "process",
  sagemaker: "sagemaker",
  modal: "modal",
};

function platformOf(file: TopologyFile, pool: PoolFile): PoolPlatform {
  const kind = file.shards[pool.shards[0] ?? ""]?.backend.kind ?? "";
  return platforms[kind] ?? "none";
}

/** The scaling of each region that has any. */
export function describeScaling(file: TopologyFile): ReadonlyMap<RegionId, RegionScaling> {
  const described = Object.entries(file.scaling ?? {}).map(([region, given]) => {
    const { mode, pools } = given;
    const scaling: RegionScaling = {
      mode,
      forecastStepSeconds: given.forecastStepSeconds ?? forecastStepSecondsDefault,
      shrinkAfterSeconds: given.shrinkAfterSeconds ?? shrinkAfterSecondsDefault,
      pools: Object.entries(pools).map(([id, pool]) => describePool(file, id, pool)),
    };
    return [region as RegionId, scaling] as const;
  });
  return new Map(described);
}

function describePool(file: TopologyFile, id: string, pool: PoolFile): PoolDescription {
  const first = file.shards[pool.shards[0] ?? ""];
  return {
    id,
    model: pool.model,
    platform: platformOf(file, pool),
    shards: pool.shards.map((shard) => shard as ShardId),
    purchase: first?.purchase ?? "on-demand",
    pricePerHourMicroUsd: first?.pricePerHourMicroUsd ?? 0,
    replicasPerInstance: pool.replicasPerInstance ?? 1,
    replicasMin: pool.replicasMin,
    replicasMax: pool.replicasMax,
    coldStartSeconds: pool.coldStartSeconds ?? coldStartSecondsDefault,
    zones: pool.shards.map((shard) => file.cells[file.shards[shard]?.cell ?? ""]?.zone ?? ""),
  };
}

/** Pools whose shards do not exist, do not belong together, or could leave a model without what it must keep. */
export function scalingProblems(file: TopologyFile): TopologyProblem[] {
  const problems: TopologyProblem[] = [];
  const owners = new Map<string, string>();
  for (const [region, scaling] of Object.entries(file.scaling ?? {})) {
    if (!Object.hasOwn(file.regions, region))
      problems.push({
        path: `scaling.${region}`,
        got: showValue(region),
        wanted: "a region of this file",
      });
    for (const [id, pool] of Object.entries(scaling.pools)) {
      const path = `scaling.${region}.pools.${id}`;
      problems.push(
        ...shardProblems(file, region, path, pool, owners),
        ...boundProblems(file, path, pool),
      );
    }
  }
  for (const [id, { backend }] of Object.entries(file.shards)) {
    if (backend.kind === "modal" && backend.autoscaler !== undefined && !owners.has(id))
      problems.push({
        path: `shards.${id}.backend.autoscaler`,
        got: "an autoscaler that no scaler sets",
        wanted: "a pool of scaling that has this shard",
      });
  }
  // What follows compares pools, which makes sense only where each is one.
  return problems.length > 0 ? problems : coverProblems(file);
}

function shardProblems(
  file: TopologyFile,
  region: string,
  path: string,
  { model, shards }: PoolFile,
  owners: Map<string, string>,
): TopologyProblem[] {
  const problems: TopologyProblem[] = [];
  if (!Object.hasOwn(file.models, model))
    problems.push({
      path: `${path}.model`,
      got: showValue(model),
      wanted: "a model of this file",
    });
  const first = file.shards[shards[0] ?? ""];
  shards.forEach((id, index) => {
    const complain = (got: string, wanted: string): void =>
      void problems.push({ path: `${path}.shards.${index}`, got: showValue(got), wanted });
    const shard = Object.hasOwn(file.shards, id) ? file.shards[id] : undefined;
    if (shard === undefined) return complain(id, "a shard of this file");
    if (file.cells[shard.cell]?.region !== region) complain(id, `a shard of ${region}`);
    if (shard.model !== model) complain(shard.model, `a shard of ${model}`);
    const owner = owners.get(id);
    if (owner !== undefined) complain(id, `a shard that ${owner} does not have already`);
    owners.set(id, path);
    if (first === undefined) return;
    if (shard.backend.kind !== first.backend.kind)
      complain(shard.backend.kind, `the pool's kind, ${first.backend.kind}`);
    if (shard.purchase !== first.purchase)
      complain(shard.purchase, `the pool's purchase, ${first.purchase}`);
    if (shard.pricePerHourMicroUsd !== first.pricePerHourMicroUsd)
      complain(
        String(shard.pricePerHourMicroUsd),
        `the pool's price, ${first.pricePerHourMicroUsd}`,
      );
    const { backend } = shard;
    if (backend.kind === "sagemaker" && backend.inferenceComponent === undefined)
      complain(id, "a shard with an inferenceComponent, whose copies can be counted");
  });
  return problems;
}

function boundProblems(file: TopologyFile, path: string, pool: PoolFile): TopologyProblem[] {
  const problems: TopologyProblem[] = [];
  const platform = platformOf(file, pool);
  const { coldStartSeconds = coldStartSecondsDefault, replicasMax, replicasMin, shards } = pool;
  const complain = (key: string, got: unknown, wanted: string): void =>
    void problems.push({ path: `${path}.${key}`, got: showValue(got), wanted });
  if (replicasMin > replicasMax)
    complain("replicasMin", replicasMin, `at most replicasMax, ${replicasMax}`);
  const isOneByOne = platform === "process" || platform === "none";
  if (isOneByOne && replicasMax > shards.length)
    complain("replicasMax", replicasMax, `at most its shards, ${shards.length}`);
  if (!isOneByOne && shards.length > 1)
    complain("shards", shards.length, `one shard, whose ${platform} replicas are counted`);
  if (replicasMin === 0 && coldStartSeconds >= zeroColdStartSecondsMax)
    complain(
      "replicasMin",
      replicasMin,
      `at least 1, since a cold start takes ${zeroColdStartSecondsMax} s or more`,
    );
  return problems;
}

/** A model must not be left to spot capacity, and may go to zero only where a cell of its jurisdiction stays warm. */
function coverProblems(file: TopologyFile): TopologyProblem[] {
  const problems: TopologyProblem[] = [];
  const pooled = new Map<string, PoolFile>();
  for (const { pools } of Object.values(file.scaling ?? {})) {
    for (const pool of Object.values(pools)) for (const id of pool.shards) pooled.set(id, pool);
  }
  const staysWarm = (id: string): boolean => (pooled.get(id)?.replicasMin ?? 1) > 0;
  for (const [region, { pools }] of Object.entries(file.scaling ?? {})) {
    const regions = Object.values(file.jurisdictions).find((one) => one.regions.includes(region));
    const models = new Set(Object.values(pools).map(({ model }) => model));
    for (const model of models) {
      const shards = Object.entries(file.shards).filter(([, shard]) => shard.model === model);
      const inRegion = shards.filter(([, { cell }]) => file.cells[cell]?.region === region);
      if (inRegion.every(([, { purchase }]) => purchase === "spot"))
        problems.push({
          path: `scaling.${region}.pools`,
          got: `spot shards of ${model} alone`,
          wanted: "reserved or on-demand shards beside them, for what may not wait",
        });
      const isCovered = shards.some(
        ([id, { cell }]) =>
          staysWarm(id) && regions?.regions.includes(file.cells[cell]?.region ?? "") === true,
      );
      const cold = Object.entries(pools).find(
        ([, pool]) => pool.model === model && pool.replicasMin === 0,
      );
      if (cold !== undefined && !isCovered)
        problems.push({
          path: `scaling.${region}.pools.${cold[0]}.replicasMin`,
          got: "0",
          wanted: "at least 1, since no other shard of the model stays warm in the jurisdiction",
        });
    }
  }
  return problems;
}
