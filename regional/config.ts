import { readFileSync } from "node:fs";
import stripJsonComments from "strip-json-comments";
import * as z from "zod";
import type { StatedAbilities } from "#shared/config/engine-abilities.ts";
import { parseTopology } from "#shared/config/topology.ts";
import type {
  BackendDescription,
  CellDescription,
  ShardDescription,
  Topology,
  TopologyProblem,
} from "#shared/config/topology.ts";
import type { CellId, ShardId } from "#shared/residency/brands.ts";
import type { ModalServer } from "./backends/platforms/modal-control.ts";
import { logLevels } from "#shared/telemetry/log-record.ts";
import type { LogLevel } from "#shared/telemetry/log-record.ts";

/** A shard that this cell drives, with its own key resolved. */
export interface ConfiguredShard {
  readonly description: ShardDescription;
  readonly engineModel: string;
  readonly place: ShardPlace;
}

/** Where a shard is, with what opens it. */
export type ShardPlace =
  | {
      readonly kind: "openai-compatible" | "simulated";
      readonly url: string;
      /** Null for a server without one. */
      readonly apiKey: string | null;
      /** The topology lets its hostname have private addresses. */
      readonly allowsPrivateAddresses: boolean;
      /** What the topology says of the engine; the rest is asked. */
      readonly stated: StatedAbilities;
    }
  | {
      readonly kind: "modal";
      readonly url: string;
      readonly key: string;
      readonly secret: string;
      readonly stated: StatedAbilities;
    }
  /** Credentials come from the AWS SDK's default chain. */
  | {
      readonly kind: "sagemaker";
      readonly region: string;
      readonly endpointName: string;
      readonly inferenceComponent: string | null;
      readonly container: "vllm" | "openai";
    };

/** Keys that sign calls from the edge: every one listed is accepted. */
export interface SigningKeys {
  readonly current: string;
  readonly keys: Readonly<Record<string, string>>;
}

/** Everything that a cell is told from outside. */
export interface CellConfig {
  readonly cell: CellDescription;
  readonly topology: Topology;
  readonly shards: readonly ConfiguredShard[];
  readonly listen: { readonly hostname: string; readonly port: number };
  readonly dataDir: string;
  /** `embedded`, or the URL of a Postgres. */
  readonly database: string;
  readonly signingKeys: SigningKeys;
  /** 64 hex digits. */
  readonly cacheSaltKey: string;
  /** Null when no health KV is configured: the edge then chooses cells by the topology alone. */
  readonly healthKv: {
    readonly url: string;
    readonly token: string;
    readonly macKey: string;
  } | null;
  /** How long running turns may go on after SIGTERM, ms; what is left then goes on in another cell. */
  readonly drainMs: number;
  /** Between two canary prompts of the cell, ms; 0: none are sent. */
  readonly canaryPeriodMs: number;
  readonly logLevel: LogLevel;
  /** Modal servers that the region's scaler sets, by shard; whichever cell leads, so that every cell has their tokens. */
  readonly modalServers: ReadonlyMap<ShardId, ModalServer>;
  /** Where `npm run dev` starts and stops engines for the scaler; null in a deployment. */
  readonly supervisor: { readonly url: string; readonly token: string } | null;
}

/** A configuration, or everything that is wrong with it. */
export type ConfigResult =
  | { readonly ok: true; readonly config: CellConfig }
  | { readonly ok: false; readonly problems: readonly TopologyProblem[] };

/**
 * Less than the 30 s that Kubernetes gives a container by default (terminationGracePeriodSeconds), so that the cell ends
 * its turns itself.
 */
const drainSecondsDefault = 25;

/** One canary for the whole cell each so often: five a minute however many shards there are (routing rules, health). */
const canarySecondsDefault = 12;

const hexWanted = "64 lower-case hex digits";
const hexKey = z.string(hexWanted).regex(/^[0-9a-f]{64}$/, hexWanted);

function text(wanted: string) {
  return z.string(wanted).min(1, wanted);
}

const signingKeysSchema = z
  .strictObject({
    current: z.string().regex(/^[a-z0-9-]{1,32}$/),
    keys: z.record(z.string().regex(/^[a-z0-9-]{1,32}$/), hexKey),
  })
  .refine(({ keys }) => Object.keys(keys).length <= 2, "at most two keys")
  .refine(({ current, keys }) => Object.hasOwn(keys, current), "a current key that is among keys");

const environmentSchema = z.object({
  MERIDIAN_TOPOLOGY: text("the path of the topology file"),
  MERIDIAN_CELL: text("the id of a cell of the topology"),
  MERIDIAN_PORT: z
    .string()
    .regex(/^\d{1,5}$/, "a port, 0 to 65535")
    .transform(Number)
    .refine((port) => port <= 65_535, "a port, 0 to 65535")
    .optional(),
  MERIDIAN_DATA_DIR: text("a folder for what the cell keeps"),
  CELL_SIGNING_KEYS: text('{"current":"k1","keys":{"k1":"<64 hex digits>"}}'),
  CACHE_SALT_KEY: hexKey,
  HEALTH_KV_URL: z.url({ protocol: /^https?$/ }).optional(),
  HEALTH_KV_TOKEN: z.string().min(1).optional(),
  HEALTH_MAC_KEY: hexKey.optional(),
  MERIDIAN_DRAIN_SECONDS: z
    .string()
    .regex(/^\d{1,4}$/, "seconds, 0 to 3600")
    .transform(Number)
    .refine((seconds) => seconds <= 3_600, "seconds, 0 to 3600")
    .default(drainSecondsDefault),
  MERIDIAN_CANARY_SECONDS: z
    .string()
    .regex(/^\d{1,4}$/, "seconds, 0 to 3600")
    .transform(Number)
    .refine((seconds) => seconds <= 3_600, "seconds, 0 to 3600")
    .default(canarySecondsDefault),
  LOG_LEVEL: z.enum(logLevels).default("info"),
  MERIDIAN_SUPERVISOR_URL: z.url({ protocol: /^http$/, hostname: /^127\.0\.0\.1$/ }).optional(),
  MERIDIAN_SUPERVISOR_TOKEN: z.string().min(20).optional(),
});

const secretNames = new Set([
  "CELL_SIGNING_KEYS",
  "CACHE_SALT_KEY",
  "HEALTH_KV_TOKEN",
  "HEALTH_MAC_KEY",
  "MERIDIAN_SUPERVISOR_TOKEN",
]);

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The configuration of the cell named by `environment`. Unknown MERIDIAN_* variables are refused: a misspelt one would
 * do nothing silently. All problems are told at once; values of secrets are never shown.
 */
export function readConfig(
  environment: Environment,
  readText: (path: string) => string = (path) => readFileSync(path, "utf8"),
): ConfigResult {
  const problems: TopologyProblem[] = Object.keys(environment)
    .filter((key) => key.startsWith("MERIDIAN_") && !Object.hasOwn(environmentSchema.shape, key))
    .map((path) => ({
      path,
      got: "an unknown variable",
      wanted: "only the documented MERIDIAN_*",
    }));
  const parsed = environmentSchema.safeParse(environment);
  if (!parsed.success) {
    problems.push(...parsed.error.issues.map((issue) => environmentProblem(issue, environment)));
    return { ok: false, problems };
  }
  const values = parsed.data;
  const signingKeys = readSigningKeys(values.CELL_SIGNING_KEYS, problems);
  const healthKv = readHealthKv(values, problems);
  const supervisor = readSupervisor(values, problems);
  const topology = readTopology(values.MERIDIAN_TOPOLOGY, readText, problems);
  if (topology === null) return { ok: false, problems };
  const cell = topology.cells.get(values.MERIDIAN_CELL as CellId);
  if (cell === undefined) {
    const known = [...topology.cells.keys()].join(", ");
    problems.push({ path: "MERIDIAN_CELL", got: values.MERIDIAN_CELL, wanted: `one of ${known}` });
    return { ok: false, problems };
  }
  const shards = readShards(topology, cell, environment, problems);
  const modalServers = readModalServers(topology, cell, environment, problems);
  const database = readDatabase(topology, cell, environment, problems);
  const listen = readListen(cell, values.MERIDIAN_PORT, problems);
  if (problems.length > 0 || signingKeys === null) return { ok: false, problems };
  return {
    ok: true,
    config: {
      cell,
      topology,
      shards,
      modalServers,
      listen,
      dataDir: values.MERIDIAN_DATA_DIR,
      database,
      signingKeys,
      cacheSaltKey: values.CACHE_SALT_KEY,
      healthKv,
      drainMs: values.MERIDIAN_DRAIN_SECONDS * 1_000,
      canaryPeriodMs: values.MERIDIAN_CANARY_SECONDS * 1_000,
      logLevel: values.LOG_LEVEL,
      supervisor,
    },
  };
}

function environmentProblem(
  issue: { readonly path: readonly PropertyKey[]; readonly message: string },
  environment: Environment,
): TopologyProblem {
  const path = issue.path.map(String).join(".");
  const value = environment[path];
  const shown = secretNames.has(path) ? "a value of another form" : JSON.stringify(value);
  return { path, got: value === undefined ? "nothing" : shown, wanted: issue.message };
}

function readSigningKeys(text: string, problems: TopologyProblem[]): SigningKeys | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    problems.push({
      path: "CELL_SIGNING_KEYS",
      got: "no JSON",
      wanted: "JSON with current and keys",
    });
    return null;
  }
  const parsed = signingKeysSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) {
    const path = ["CELL_SIGNING_KEYS", ...issue.path.map(String)].join(".");
    problems.push({ path, got: "a value of another form", wanted: issue.message });
  }
  return null;
}

function readHealthKv(
  values: z.infer<typeof environmentSchema>,
  problems: TopologyProblem[],
): CellConfig["healthKv"] {
  const { HEALTH_KV_URL: url, HEALTH_KV_TOKEN: token, HEALTH_MAC_KEY: macKey } = values;
  if (url !== undefined && token !== undefined && macKey !== undefined)
    return { url, token, macKey };
  if (url === undefined && token === undefined) return null;
  for (const [path, value] of Object.entries({
    HEALTH_KV_URL: url,
    HEALTH_KV_TOKEN: token,
    HEALTH_MAC_KEY: macKey,
  })) {
    if (value === undefined) {
      problems.push({
        path,
        got: "nothing",
        wanted: "all of HEALTH_KV_URL, HEALTH_KV_TOKEN, HEALTH_MAC_KEY, or none",
      });
    }
  }
  return null;
}

function readSupervisor(
  {
    MERIDIAN_SUPERVISOR_TOKEN: token,
    MERIDIAN_SUPERVISOR_URL: url,
  }: z.infer<typeof environmentSchema>,
  problems: TopologyProblem[],
): CellConfig["supervisor"] {
  if (url !== undefined && token !== undefined) return { url, token };
  if (url === undefined && token === undefined) return null;
  problems.push({
    path: url === undefined ? "MERIDIAN_SUPERVISOR_URL" : "MERIDIAN_SUPERVISOR_TOKEN",
    got: "nothing",
    wanted: "both of MERIDIAN_SUPERVISOR_URL and MERIDIAN_SUPERVISOR_TOKEN, or none",
  });
  return null;
}

function readTopology(
  path: string,
  readText: (path: string) => string,
  problems: TopologyProblem[],
): Topology | null {
  let value: unknown;
  try {
    value = JSON.parse(stripJsonComments(readText(path), { trailingCommas: true }));
  } catch (error) {
    const got = error instanceof SyntaxError ? "a file that is no JSON" : "no readable file";
    problems.push({ path: "MERIDIAN_TOPOLOGY", got, wanted: "the path of a topology file" });
    return null;
  }
  const result = parseTopology(value);
  if (result.ok) return result.topology;
  problems.push(...result.problems);
  return null;
}

function readShards(
  topology: Topology,
  cell: CellDescription,
  environment: Environment,
  problems: TopologyProblem[],
): readonly ConfiguredShard[] {
  const shards: ConfiguredShard[] = [];
  const own = topology.jurisdictions.get(cell.jurisdiction)?.shards ?? [];
  for (const description of own.filter((shard) => shard.cell === cell.id)) {
    const { backend, id, model } = description;
    const path = `shards.${id}.backend`;
    const place = readPlace(backend, path, environment, problems);
    if (place === null) continue;
    const engineModel = (backend.kind === "simulated" ? undefined : backend.engineModel) ?? model;
    shards.push({ description, engineModel, place });
  }
  return shards;
}

function readPlace(
  backend: BackendDescription,
  path: string,
  environment: Environment,
  problems: TopologyProblem[],
): ShardPlace | null {
  switch (backend.kind) {
    case "sagemaker": {
      const { container = "openai", endpointName, inferenceComponent = null, region } = backend;
      return { kind: "sagemaker", region, endpointName, inferenceComponent, container };
    }
    case "modal": {
      const key = readVariable(backend.key, `${path}.key`, environment, problems);
      const secret = readVariable(backend.secret, `${path}.secret`, environment, problems);
      return key === null || secret === null
        ? null
        : { kind: "modal", url: backend.url, key, secret, stated: backend.abilities ?? {} };
    }
    case "openai-compatible":
    case "simulated": {
      const { allowPrivateAddresses, kind, url } = backend;
      if (url === undefined) {
        problems.push({ path: `${path}.url`, got: "nothing", wanted: "the URL of the engine" });
        return null;
      }
      const variable = kind === "openai-compatible" ? backend.apiKey : undefined;
      const apiKey =
        variable === undefined
          ? null
          : readVariable(variable, `${path}.apiKey`, environment, problems);
      const stated = (kind === "openai-compatible" ? backend.abilities : undefined) ?? {};
      const allowsPrivateAddresses = allowPrivateAddresses === true;
      return { kind, url, apiKey, allowsPrivateAddresses, stated };
    }
  }
}

function readModalServers(
  topology: Topology,
  { jurisdiction, region }: CellDescription,
  environment: Environment,
  problems: TopologyProblem[],
): ReadonlyMap<ShardId, ModalServer> {
  const pools = topology.scaling.get(region)?.pools ?? [];
  const pooled = new Set(pools.flatMap(({ shards }) => shards));
  const servers = new Map<ShardId, ModalServer>();
  for (const { backend, concurrentRequestsMax, id } of topology.jurisdictions.get(jurisdiction)
    ?.shards ?? []) {
    if (backend.kind !== "modal" || backend.autoscaler === undefined || !pooled.has(id)) continue;
    const { app, environment: name = null, server } = backend.autoscaler;
    const read = (key: "tokenId" | "tokenSecret"): string => {
      const path = `shards.${id}.backend.autoscaler.${key}`;
      return readVariable(backend.autoscaler?.[key] ?? "", path, environment, problems) ?? "";
    };
    const tokens = { tokenId: read("tokenId"), tokenSecret: read("tokenSecret") };
    servers.set(id, { app, server, environment: name, concurrentRequestsMax, ...tokens });
  }
  return servers;
}

function readDatabase(
  topology: Topology,
  cell: CellDescription,
  environment: Environment,
  problems: TopologyProblem[],
): string {
  const database = topology.regions.get(cell.region)?.database ?? "embedded";
  if (database === "embedded") return database;
  return readVariable(database, `regions.${cell.region}.database`, environment, problems) ?? "";
}

/** The value of `env:NAME`. */
function readVariable(
  reference: string,
  path: string,
  environment: Environment,
  problems: TopologyProblem[],
): string | null {
  const name = reference.slice("env:".length);
  const value = environment[name];
  if (value !== undefined && value !== "") return value;
  problems.push({ path, got: `an empty ${name}`, wanted: `a value in the variable ${name}` });
  return null;
}

/** A cell behind loopback listens there alone; one with a name in the topology listens on all addresses. */
function readListen(
  cell: CellDescription,
  port: number | undefined,
  problems: TopologyProblem[],
): CellConfig["listen"] {
  const url = new URL(cell.url);
  const isLoopback = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  const hostname = isLoopback ? url.hostname.replace(/^\[|\]$/g, "") : "0.0.0.0";
  if (port !== undefined) return { hostname, port };
  if (url.protocol === "https:") {
    problems.push({
      path: "MERIDIAN_PORT",
      got: "nothing",
      wanted: "the port to listen on, since the cell's URL is that of its TLS terminator",
    });
  }
  return { hostname, port: url.port === "" ? 80 : Number(url.port) };
}
