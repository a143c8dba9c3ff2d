import { keyDigest, newTenantKey } from "../../supervisor/secrets.ts";
import type { TopologyFile } from "../../supervisor/topology-file.ts";
import type { Flow } from "../load/flow.ts";

/** A topology for drills and the clients that go with it. */
export interface DrillTopology {
  readonly file: TopologyFile;
  readonly flows: readonly Flow[];
}

/** A platform that takes idle shards down. */
export interface DrillPlatform {
  readonly scaleToZeroSeconds: number;
  readonly coldStartMs: number;
}

/**
 * Shards are slow and small, so that a shard is the scarce thing and not the processor of the machine that the drill runs on:
 * an answer of 100 tokens takes about 2 s at half the speed of an H100, and a shard runs 4 at a time, about 2 answers per second.
 */
const shardSpeed = 0.5;
const shardSlots = 4;
/** By cell. With six shards in the EU a third is two. */
const shardsOfEuCell = 3;
const shardsOfOtherCell = 2;
/** Patience of a person before an answer begins, and of a batch job; ms. */
export const interactiveTtftMsMax = 5_000;
export const batchTtftMsMax = 30_000;

/** The tenants of a drill, and their most important class. */
const tenants = [
  { name: "drill-a", jurisdiction: "eu", priority: "interactive" },
  { name: "drill-b", jurisdiction: "eu", priority: "interactive" },
  { name: "drill-batch", jurisdiction: "eu", priority: "batch" },
  { name: "drill-us", jurisdiction: "us", priority: "interactive" },
] as const;

/**
 * What their clients send: half of what the six shards of the EU give, so that what is left after a third is three quarters
 * used. A hundred times `drill-b` is three times what they give, about what an edge on two processors can refuse.
 */
const clients = [
  { name: "drill-a", tenant: "drill-a", priority: "interactive", perSecond: 3.6 },
  { name: "drill-a-standard", tenant: "drill-a", priority: "standard", perSecond: 0.6 },
  { name: "drill-b", tenant: "drill-b", priority: "interactive", perSecond: 0.3 },
  { name: "drill-batch", tenant: "drill-batch", priority: "batch", perSecond: 1 },
  { name: "drill-us", tenant: "drill-us", priority: "interactive", perSecond: 1.5 },
] as const;

/**
 * The repository's topology with the drills' shards and tenants in place of its own. Keys are new each time.
 * @param platform Of the shards in the EU; null: they are always up.
 */
export function drillTopology(
  file: TopologyFile,
  model: string,
  platform: DrillPlatform | null = null,
): DrillTopology {
  const template = Object.values(file.shards).find((shard) => shard.model === model);
  if (template === undefined) throw new Error(`the topology has no shard of ${model}`);
  const euRegions = new Set(file.jurisdictions["eu"]?.regions);
  const shards = Object.entries(file.cells).flatMap(([cell, { region }]) => {
    const isEu = euRegions.has(region);
    const count = isEu ? shardsOfEuCell : shardsOfOtherCell;
    const own = isEu ? platform : null;
    const idle = own === null ? {} : { scaleToZeroSeconds: own.scaleToZeroSeconds };
    const start = own === null ? {} : { coldStartMs: own.coldStartMs };
    return Array.from({ length: count }, (_, index): [string, typeof template] => [
      `${cell}/llama-${index}`,
      {
        ...template,
        cell,
        ...idle,
        backend: { kind: "simulated", speed: shardSpeed, ...start },
        capacity: { ...template.capacity, concurrentRequestsMax: shardSlots },
      },
    ]);
  });
  const keys = new Map(
    tenants.map(({ name, jurisdiction }) => [name, newTenantKey(jurisdiction, name)]),
  );
  return {
    file: {
      ...file,
      models: { [model]: file.models[model] ?? fail(model) },
      shards: Object.fromEntries(shards),
      tenants: Object.fromEntries(
        tenants.map(({ name, jurisdiction, priority }) => [
          name,
          { jurisdiction, priority, keys: [`sha256:${keyDigest(keys.get(name) ?? "")}`] },
        ]),
      ),
    },
    flows: clients.map(({ tenant, ...client }) => ({
      ...client,
      jurisdiction: tenants.find(({ name }) => name === tenant)?.jurisdiction ?? "",
      key: keys.get(tenant) ?? "",
      ttftMsMax: client.priority === "batch" ? batchTtftMsMax : interactiveTtftMsMax,
    })),
  };
}

function fail(model: string): never {
  throw new Error(`the topology does not describe ${model}`);
}
