import * as z from "zod";
import { statedAbilitiesSchema } from "./engine-abilities.ts";
import { describeKeys, keyDigests, limitsSchema, tenantKeys } from "./limits.ts";
import type { Limits, TenantKey } from "./limits.ts";
import { keptSeconds, streamsKeptMs } from "./streams-kept.ts";
import { describeDegradation, tenantDegradationSchema } from "./tenant-degradation.ts";
import type { TenantDegradation } from "./tenant-degradation.ts";
import { describeScaling, scalingSchema } from "./scaling.ts";
import type { RegionScaling } from "./scaling.ts";
import { speedProfiles } from "../routing/speed-profiles.ts";
import { shapeProblems } from "./topology-problem.ts";
import type { TopologyProblem } from "./topology-problem.ts";
import { referenceProblems } from "./topology-references.ts";
import type { CellId, Jurisdiction, RegionId, ShardId, TenantId } from "../residency/brands.ts";

export type { TopologyProblem } from "./topology-problem.ts";

/**
 * The topology file: one description of a deployment, compiled into the Worker and given to the cells. Names are fixed
 * (docs/architecture.md); unknown keys are refused, cross-references are checked, every complaint names path, got, wanted.
 */
const name = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, "lower-case letters, digits and dashes, at most 32");
const environmentVariable = z
  .string()
  .regex(/^env:[A-Z][A-Z0-9_]{0,63}$/, "env:NAME of an environment variable");
const count = z.int().min(1).max(1_000_000_000);

/** The priority classes, most important first. A tenant's is a ceiling; a request may ask for less. */
export const priorities = ["critical", "interactive", "standard", "batch"] as const;
/** A priority class. */
export type Priority = (typeof priorities)[number];

/** What a model can be asked for. */
export const capabilities = [
  "chat",
  "completions",
  "embeddings",
  "tools",
  "json",
  "vision",
] as const;
/** A capability of a model. */
export type Capability = (typeof capabilities)[number];

const jurisdictionSchema = z.strictObject({
  hostnames: z
    .array(z.string().regex(/^[a-z0-9.-]{1,253}$/))
    .min(1)
    .max(32),
  objects: z.enum(["eu", "us", "fedramp", "unpinned"]),
  regions: z.array(name).min(1).max(64),
  /** Floor and ceiling of how long its tenants' streams are kept. */
  streamsKeptSecondsMin: keptSeconds.optional(),
  streamsKeptSecondsMax: keptSeconds.optional(),
});

const regionSchema = z.strictObject({
  latitude: z.number().min(-90).max(90),
  longitude: z.number().min(-180).max(180),
  database: z
    .string()
    .regex(
      /^(?:embedded|env:[A-Z][A-Z0-9_]{0,63})$/,
      "embedded, or env:NAME of an environment variable",
    ),
});

const cellSchema = z.strictObject({
  region: name,
  zone: z.string().regex(/^[a-z0-9-]{1,16}$/),
  url: z
    .string()
    .regex(/^https?:\/\/[^\s/]+(:\d{1,5})?$/, "an origin: scheme, host and port, no path"),
});

const priceMicroUsd = z.int().min(0).max(1_000_000_000_000);

const warmShards = z.int().min(0).max(1_000);

const modelSchema = z.strictObject({
  revision: z.string().min(1).max(64),
  contextTokensMax: count,
  capabilities: z.array(z.enum(capabilities)).min(1),
  /** Shards that each region keeps warm for prompts of a class, where it has as many (docs/warming.md). */
  warmShardsMin: z
    .strictObject({
      critical: warmShards.optional(),
      interactive: warmShards.optional(),
      standard: warmShards.optional(),
      batch: warmShards.optional(),
    })
    .optional(),
  /** What a tenant's budget is charged; required where a tenant of a jurisdiction that serves the model has one. */
  priceMicroUsdPerMillionTokens: z
    .strictObject({ input: priceMicroUsd, output: priceMicroUsd })
    .optional(),
});

const shardUrl = z.string().regex(/^https?:\/\/[^\s]+$/, "an http or https URL");
/** The GPU and model size that predictions of a shard start from; without it they are learned from its answers alone. */
const hardware = z.enum(speedProfiles);
const backendSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("openai-compatible"),
    profile: hardware.optional(),
    url: shardUrl,
    apiKey: environmentVariable.optional(),
    /** The name that the engine knows the model by, when it differs from the topology's. */
    engineModel: z.string().min(1).max(256).optional(),
    /** Its hostname may resolve to private addresses; IP literals and localhost always may. */
    allowPrivateAddresses: z.boolean().optional(),
    /** What it can do, where that shall not be asked. */
    abilities: statedAbilitiesSchema.optional(),
  }),
  z.strictObject({
    kind: z.literal("simulated"),
    url: shardUrl.optional(),
    allowPrivateAddresses: z.boolean().optional(),
    profile: z.string().min(1).max(64).optional(),
    speed: z.number().positive().max(1000).optional(),
    coldStartMs: z.int().min(0).max(3_600_000).optional(),
    /** What its platform does with a prompt that meets no running engine: 503 with Retry-After, or it waits for the start. */
    whileCold: z.enum(["refuse", "hold"]).optional(),
  }),
  z.strictObject({
    kind: z.literal("sagemaker"),
    profile: hardware.optional(),
    endpointName: z.string().min(1).max(63),
    region: z.string().min(1).max(32),
    inferenceComponent: z.string().min(1).max(63).optional(),
    engineModel: z.string().min(1).max(256).optional(),
    /** What the container speaks beyond OpenAI's API; it cannot be asked through the endpoint. `vllm`: 0.10.2 or newer. */
    container: z.enum(["vllm", "openai"]).optional(),
  }),
  z.strictObject({
    kind: z.literal("modal"),
    profile: hardware.optional(),
    url: shardUrl,
    routingRegion: z.string().min(1).max(32),
    key: environmentVariable,
    secret: environmentVariable,
    engineModel: z.string().min(1).max(256).optional(),
    abilities: statedAbilitiesSchema.optional(),
    /** Names of the deployed app and server, and an API token that may set its autoscaler; for a pool of `scaling`. */
    autoscaler: z
      .strictObject({
        app: z.string().min(1).max(64),
        server: z.string().min(1).max(64),
        environment: z.string().min(1).max(64).optional(),
        tokenId: environmentVariable,
        tokenSecret: environmentVariable,
      })
      .optional(),
  }),
]);

/** Idle time after which the shard's platform takes it down; left out where it never does. */
const idleSeconds = z.number().positive().max(86_400);
/** How long a start is expected to take before one was seen; left out: its platform's usual time. */
const startSeconds = z.number().positive().max(3_600);

const shardSchema = z.strictObject({
  cell: name,
  model: z.string().min(1).max(128),
  backend: backendSchema,
  capacity: z.strictObject({
    concurrentRequestsMax: z.int().min(1).max(10_000),
    kvTokensMax: count,
  }),
  purchase: z.enum(["reserved", "on-demand", "spot"]),
  pricePerHourMicroUsd: z.int().min(0).max(1_000_000_000_000),
  scaleToZeroSeconds: idleSeconds.optional(),
  coldStartSeconds: startSeconds.optional(),
});

const tenantSchema = z.strictObject({
  jurisdiction: name,
  priority: z.enum(priorities),
  keys: tenantKeys,
  limits: limitsSchema.optional(),
  streamsKeptSeconds: keptSeconds.optional(),
  degradation: tenantDegradationSchema.optional(),
});

/** Keys that sign for tenants come over TLS; plain http only from this machine, where development has its issuer. */
const keySetUrl = z
  .string()
  .regex(
    /^(?:https:\/\/[^\s/@]+|http:\/\/(?:(?:[a-z0-9-]+\.)*localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?)(?:\/\S*)?$/,
    "an https URL, or http on localhost",
  );

const identityProviderSchema = z.strictObject({
  issuer: z.string().min(1).max(512),
  audience: z.string().min(1).max(512),
  jwksUrl: keySetUrl,
  algorithms: z
    .array(z.enum(["EdDSA", "ES256", "RS256"]))
    .min(1)
    .max(3),
  /** The claim that names the tenant; its value must be a tenant of this topology. */
  tenantClaim: z.string().min(1).max(128),
});

/** The shape of the file, before cross-references are checked. */
export const topologySchema = z.strictObject({
  jurisdictions: z.record(name, jurisdictionSchema),
  regions: z.record(name, regionSchema),
  cells: z.record(name, cellSchema),
  models: z.record(z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,127}$/), modelSchema),
  shards: z.record(
    z.string().regex(/^[a-z][a-z0-9-]*\/[a-z0-9][a-z0-9._-]{0,63}$/, "<cell>/<name>"),
    shardSchema,
  ),
  tenants: z.record(name, tenantSchema),
  identityProviders: z.record(name, identityProviderSchema).optional(),
  admin: z.strictObject({ keys: keyDigests }).optional(),
  /** By region; a region without it has no scaler. */
  scaling: z.record(name, scalingSchema).optional(),
});

/** A file of the right shape, whose references are not checked yet. */
export type TopologyFile = z.infer<typeof topologySchema>;

/** Where a cell is and how it is reached. */
export interface CellDescription {
  readonly id: CellId;
  readonly region: RegionId;
  readonly jurisdiction: Jurisdiction;
  readonly zone: string;
  readonly url: string;
}

/** How a shard is driven; the discriminated union of the file. */
export type BackendDescription = z.infer<typeof backendSchema>;

/** One shard of the topology. */
export interface ShardDescription {
  readonly id: ShardId;
  readonly cell: CellId;
  readonly model: string;
  readonly revision: string;
  readonly backend: BackendDescription;
  readonly concurrentRequestsMax: number;
  readonly kvTokensMax: number;
  readonly purchase: "reserved" | "on-demand" | "spot";
  readonly pricePerHourMicroUsd: number;
  /** Idle time after which its platform takes it down; absent where it never does. */
  readonly scaleToZeroSeconds?: number;
  /** How long a cold start is expected to take before one was seen; absent: its platform's usual time. */
  readonly coldStartSeconds?: number;
}

/** Shards of a model that each region keeps warm, by class. */
export type WarmShardsMin = Readonly<Partial<Record<Priority, number | undefined>>>;

/** A model as the topology declares it. */
export interface ModelDescription {
  readonly id: string;
  readonly revision: string;
  readonly contextTokensMax: number;
  readonly capabilities: readonly Capability[];
  /** Shards that each region keeps warm, by class; classes that are left out have a usual number. */
  readonly warmShardsMin?: WarmShardsMin;
  /** Micro-dollars per million tokens; absent where no tenant has a budget. */
  readonly priceMicroUsdPerMillionTokens?: { readonly input: number; readonly output: number };
}

/** A tenant as the topology declares it. */
export interface TenantDescription {
  readonly id: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly priority: Priority;
  /** The first is the one without a name; who comes with a JWT counts as it. */
  readonly keys: readonly [TenantKey, ...TenantKey[]];
  readonly limits: Limits;
  /** How long the stream of an ended turn can be read again, ms. */
  readonly streamsKeptMs: number;
  readonly degradation: TenantDegradation;
}

/** Where the objects of a jurisdiction are pinned. */
export type ObjectPin = "eu" | "us" | "fedramp" | "unpinned";

/** A jurisdiction with all that serves it; nothing of another one can be reached from here. */
export interface JurisdictionDescription {
  readonly id: Jurisdiction;
  readonly hostnames: readonly string[];
  readonly objects: ObjectPin;
  readonly regions: readonly RegionId[];
  readonly cells: readonly CellDescription[];
  readonly shards: readonly ShardDescription[];
  readonly models: ReadonlyMap<string, ModelDescription>;
}

/** A region of the topology. */
export interface RegionDescription {
  readonly id: RegionId;
  readonly jurisdiction: Jurisdiction;
  readonly latitude: number;
  readonly longitude: number;
  /** `embedded`, or `env:NAME` of the variable that holds a Postgres URL. */
  readonly database: string;
}

/** An issuer of JWTs. */
export interface IdentityProvider extends z.infer<typeof identityProviderSchema> {
  readonly id: string;
}

/** A checked topology. Everything that serves a jurisdiction is listed under that jurisdiction, and nowhere else. */
export interface Topology {
  readonly jurisdictions: ReadonlyMap<Jurisdiction, JurisdictionDescription>;
  readonly jurisdictionByHostname: ReadonlyMap<string, Jurisdiction>;
  readonly regions: ReadonlyMap<RegionId, RegionDescription>;
  readonly cells: ReadonlyMap<CellId, CellDescription>;
  readonly tenants: ReadonlyMap<TenantId, TenantDescription>;
  readonly identityProviders: readonly IdentityProvider[];
  readonly adminKeys: readonly string[];
  /** Of the regions that have a scaler. */
  readonly scaling: ReadonlyMap<RegionId, RegionScaling>;
}

/** A topology, or every problem that was found in the file. */
export type TopologyResult =
  | { readonly ok: true; readonly topology: Topology }
  | { readonly ok: false; readonly problems: readonly TopologyProblem[] };

/** One line per problem, for a terminal. */
export function describeProblems(problems: readonly TopologyProblem[]): string {
  return problems
    .map(({ path, got, wanted }) => `${path || "(root)"}: got ${got}, wanted ${wanted}`)
    .join("\n");
}

function describeModel(id: string, model: z.infer<typeof modelSchema>): ModelDescription {
  const { priceMicroUsdPerMillionTokens, warmShardsMin, ...rest } = model;
  return {
    id,
    ...rest,
    ...(warmShardsMin === undefined ? {} : { warmShardsMin }),
    ...(priceMicroUsdPerMillionTokens === undefined ? {} : { priceMicroUsdPerMillionTokens }),
  };
}

function build(file: TopologyFile): Topology {
  const jurisdictionOfRegion = new Map<string, Jurisdiction>();
  for (const [id, { regions }] of Object.entries(file.jurisdictions)) {
    for (const region of regions) jurisdictionOfRegion.set(region, id as Jurisdiction);
  }
  const jurisdictionOf = (region: string): Jurisdiction =>
    jurisdictionOfRegion.get(region) ?? ("" as Jurisdiction);
  const cells = Object.entries(file.cells).map(([id, cell]): CellDescription => ({
    id: id as CellId,
    region: cell.region as RegionId,
    jurisdiction: jurisdictionOf(cell.region),
    zone: cell.zone,
    url: cell.url,
  }));
  const models = new Map(
    Object.entries(file.models).map(([id, model]): [string, ModelDescription] => [
      id,
      describeModel(id, model),
    ]),
  );
  const shards = Object.entries(file.shards).map(([id, shard]): ShardDescription => ({
    id: id as ShardId,
    cell: shard.cell as CellId,
    model: shard.model,
    revision: models.get(shard.model)?.revision ?? "",
    backend: shard.backend,
    concurrentRequestsMax: shard.capacity.concurrentRequestsMax,
    kvTokensMax: shard.capacity.kvTokensMax,
    purchase: shard.purchase,
    pricePerHourMicroUsd: shard.pricePerHourMicroUsd,
    ...(shard.scaleToZeroSeconds === undefined
      ? {}
      : { scaleToZeroSeconds: shard.scaleToZeroSeconds }),
    ...(shard.coldStartSeconds === undefined ? {} : { coldStartSeconds: shard.coldStartSeconds }),
  }));
  const jurisdictions = new Map<Jurisdiction, JurisdictionDescription>();
  const jurisdictionByHostname = new Map<string, Jurisdiction>();
  for (const [key, entry] of Object.entries(file.jurisdictions)) {
    const id = key as Jurisdiction;
    const ownCells = cells.filter((cell) => cell.jurisdiction === id);
    const cellIds = new Set(ownCells.map((cell) => cell.id));
    const ownShards = shards.filter((shard) => cellIds.has(shard.cell));
    const served = new Set(ownShards.map((shard) => shard.model));
    jurisdictions.set(id, {
      id,
      hostnames: entry.hostnames,
      objects: entry.objects,
      regions: entry.regions.map((region) => region as RegionId),
      cells: ownCells,
      shards: ownShards,
      models: new Map([...models].filter(([model]) => served.has(model))),
    });
    for (const hostname of entry.hostnames) jurisdictionByHostname.set(hostname, id);
  }
  return {
    jurisdictions,
    jurisdictionByHostname,
    regions: new Map(
      Object.entries(file.regions).map(([id, region]): [RegionId, RegionDescription] => [
        id as RegionId,
        { id: id as RegionId, jurisdiction: jurisdictionOf(id), ...region },
      ]),
    ),
    cells: new Map(cells.map((cell) => [cell.id, cell])),
    tenants: new Map(
      Object.entries(file.tenants).map(([id, tenant]): [TenantId, TenantDescription] => [
        id as TenantId,
        {
          id: id as TenantId,
          jurisdiction: tenant.jurisdiction as Jurisdiction,
          priority: tenant.priority,
          keys: describeKeys(tenant.keys, tenant.limits ?? {}),
          limits: tenant.limits ?? {},
          streamsKeptMs: streamsKeptMs(file.jurisdictions[tenant.jurisdiction] ?? {}, tenant),
          degradation: describeDegradation(tenant.degradation),
        },
      ]),
    ),
    identityProviders: Object.entries(file.identityProviders ?? {}).map(([id, provider]) => ({
      id,
      ...provider,
    })),
    adminKeys: file.admin?.keys ?? [],
    scaling: describeScaling(file),
  };
}

/** Checks a parsed topology file. All problems are reported at once; a topology with any problem is refused whole. */
export function parseTopology(input: unknown): TopologyResult {
  const parsed = topologySchema.safeParse(input);
  if (!parsed.success) return { ok: false, problems: shapeProblems(parsed.error, input) };
  const problems = referenceProblems(parsed.data);
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, topology: build(parsed.data) };
}
