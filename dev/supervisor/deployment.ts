import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DevelopmentKeys } from "./development-keys.ts";
import { edgeBindings, signingKeys } from "./edge-bindings.ts";
import type { DevFile } from "./dev-file.ts";
import { ggufEngines, ggufShard } from "./gguf-model.ts";
import type { GgufModel } from "./gguf-model.ts";
import { findFreePort, isPortFree } from "./free-port.ts";
import type { DevOptions } from "./options.ts";
import { createPart } from "./part.ts";
import type { Part, PartListeners, PartSpecification } from "./part.ts";
import {
  cellPart,
  databasePart,
  edgePart,
  enginePart,
  ggufPart,
  healthPart,
} from "./part-specifications.ts";
import type { Places } from "./part-specifications.ts";
import {
  databaseVariable,
  regionsToStart,
  resolveTopology,
  shardsToStart,
} from "./resolve-topology.ts";
import { createScaledEngines } from "./scaled-engines.ts";
import { serveShardControl } from "./shard-control.ts";
import type { ShardControl } from "./shard-control.ts";
import type { Secrets } from "./secrets.ts";
import { StartError } from "./state-folder.ts";
import type { StateFolder } from "./state-folder.ts";
import type { TopologyFile } from "./topology-file.ts";

/** All that a local deployment is made of. */
export interface DeploymentPlan {
  readonly root: string;
  readonly options: DevOptions;
  /** Its engines are started too; null without one. */
  readonly gguf: GgufModel | null;
  readonly folder: StateFolder;
  readonly secrets: Secrets;
  readonly keys: DevelopmentKeys;
  /** With the development keys' tenants. */
  readonly file: TopologyFile;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** The running parts of a deployment. */
export interface Deployment {
  /** Starts everything in order. @throws StartError at the first part that does not start. */
  start(): Promise<void>;
  /** Stops the edge, then the cells, then what they use. */
  stop(): Promise<void>;
  /** Kills every process at once. */
  kill(): void;
  describe(): DevFile;
}

/** Prepares a deployment; nothing runs before `start`. `onProgress` gets a line per step. */
export function createDeployment(
  plan: DeploymentPlan,
  listeners: PartListeners & { readonly onProgress: (line: string) => void },
): Deployment {
  const { folder, secrets, file, options } = plan;
  const logs = folder.file("logs");
  const places: Places = { root: plan.root, logs };
  const engines = new Map<string, Part>();
  const databases = new Map<string, Part>();
  const cells = new Map<string, Part>();
  let health: Part | null = null;
  let edge: Part | null = null;
  let control: ShardControl | null = null;
  let isStopped = false;

  /** The scaler's; an engine keeps its port, which the cells know. */
  const scaledEngines = createScaledEngines({
    shards: () => [...engines.keys()],
    async start(id) {
      const part = engines.get(id);
      if (part === undefined || isStopped) return;
      const next = make({ ...enginePart(places, file, id), url: part.url });
      engines.set(id, next);
      await next.start();
      listeners.onChange();
    },
    async stop(id) {
      await engines.get(id)?.stop();
      listeners.onChange();
    },
    onFailure: (id, error) => listeners.onMessage(`${id}: ${describeFailure(error)}`),
    after(delayMs, run) {
      const timer = setTimeout(run, delayMs);
      timer.unref();
      return () => clearTimeout(timer);
    },
  });

  function make(specification: PartSpecification): Part {
    return createPart(specification, listeners);
  }

  async function startAll(title: string, parts: readonly Part[]): Promise<void> {
    if (isStopped) throw new StartError("Stopped while starting.");
    if (parts.length === 0) return;
    const begin = Date.now();
    listeners.onProgress(`starting ${title} …`);
    const results = await Promise.allSettled(parts.map((part) => part.start()));
    const failures = results.flatMap((result) =>
      result.status === "rejected" ? [describeFailure(result.reason)] : [],
    );
    if (failures.length > 0) throw new StartError(failures.join("\n"));
    listeners.onProgress(`  ready after ${((Date.now() - begin) / 1_000).toFixed(1)} s`);
  }

  function resolved(): TopologyFile {
    return resolveTopology(file, { engines: urlsOf(engines), cells: urlsOf(cells) });
  }

  function writeTopology(): void {
    writeFileSync(folder.file("topology.json"), JSON.stringify(resolved(), null, 2), {
      mode: 0o600,
    });
  }

  function cellEnvironment(id: string): Readonly<Record<string, string>> {
    const region = file.cells[id]?.region ?? "";
    const own: Record<string, string> = {
      MERIDIAN_TOPOLOGY: folder.file("topology.json"),
      MERIDIAN_CELL: id,
      MERIDIAN_DATA_DIR: join(folder.file("cells"), id),
      CELL_SIGNING_KEYS: signingKeys(secrets),
      CACHE_SALT_KEY: secrets.cacheSaltKey,
      HEALTH_KV_URL: replicaUrl(health, region),
      HEALTH_KV_TOKEN: secrets.healthToken,
      HEALTH_MAC_KEY: secrets.healthMacKey,
      LOG_LEVEL: plan.environment["LOG_LEVEL"] ?? "info",
    };
    for (const name of ["MERIDIAN_DRAIN_SECONDS", "MERIDIAN_CANARY_SECONDS"]) {
      const seconds = plan.environment[name];
      if (seconds !== undefined) own[name] = seconds;
    }
    if (control !== null) {
      own["MERIDIAN_SUPERVISOR_URL"] = control.url;
      own["MERIDIAN_SUPERVISOR_TOKEN"] = control.token;
    }
    const database = databases.get(region);
    if (database !== undefined) own[databaseVariable(region)] = database.url;
    for (const name of neededVariables(file, id)) own[name] = plan.environment[name] ?? "";
    return own;
  }

  /** All cells share them: each engine is a shard of every cell. */
  function makeGgufEngines(model: GgufModel): void {
    for (let engine = 0; engine < ggufEngines; engine += 1) {
      const part = make(ggufPart(places, engine, model));
      for (const cell of Object.keys(file.cells)) engines.set(ggufShard(cell, engine), part);
    }
  }

  async function startUsed(): Promise<void> {
    for (const id of shardsToStart(file)) engines.set(id, make(enginePart(places, file, id)));
    if (plan.gguf !== null) makeGgufEngines(plan.gguf);
    for (const region of regionsToStart(file)) {
      const dataDir = join(folder.file("databases"), region);
      databases.set(region, make(databasePart(places, region, dataDir)));
    }
    mkdirSync(folder.file("health"), { recursive: true });
    health = make(
      healthPart(places, {
        regions: Object.keys(file.regions),
        token: secrets.healthToken,
        readOnlyToken: secrets.healthReadOnlyToken,
        replicationLagMs: options.replicationLagMs,
        dataFile: join(folder.file("health"), "snapshot.json"),
      }),
    );
    const started = new Set(engines.values());
    const parts = [...databases.values(), health, ...started];
    const title = `${databases.size} databases, the health KV and ${started.size} engines`;
    await startAll(title, parts);
  }

  async function startCells(): Promise<void> {
    writeTopology();
    if (file.scaling !== undefined) {
      control = await serveShardControl({
        engines: scaledEngines,
        regionOf: (id) => file.cells[file.shards[id]?.cell ?? ""]?.region ?? "",
      });
    }
    for (const [id, cell] of Object.entries(file.cells)) {
      const dataDir = join(folder.file("cells"), id);
      mkdirSync(dataDir, { recursive: true });
      const port = Number(new URL(cell.url).port);
      cells.set(id, make(cellPart(places, id, { port, environment: cellEnvironment(id) })));
    }
    await startAll(`the cells ${[...cells.keys()].join(", ")}`, [...cells.values()]);
    // With the ports that the cells found, for those that start again.
    writeTopology();
  }

  async function startEdge(port: number): Promise<void> {
    const firstRegion = Object.keys(file.regions)[0] ?? "";
    const bindings = edgeBindings({
      topology: resolved(),
      secrets,
      healthUrl: replicaUrl(health, firstRegion),
      digests: plan.keys.digests,
      logLevel: plan.environment["LOG_LEVEL"] ?? "info",
    });
    writeFileSync(folder.file("edge.env"), bindings, { mode: 0o600 });
    edge = make(
      edgePart(places, {
        port,
        inspectorPort: await findFreePort(),
        bindingsFile: folder.file("edge.env"),
        persistTo: folder.file("edge"),
        wranglerLogs: folder.file("wrangler-logs"),
      }),
    );
    await startAll("the edge", [edge]);
  }

  function allParts(): readonly Part[] {
    const shared = [edge, health].filter((part) => part !== null);
    return [...shared, ...cells.values(), ...new Set(engines.values()), ...databases.values()];
  }

  return {
    async start() {
      await checkPorts(file, options.port);
      mkdirSync(logs, { recursive: true });
      await startUsed();
      await startCells();
      await startEdge(options.port === 0 ? await findFreePort() : options.port);
    },
    async stop() {
      isStopped = true;
      control?.close();
      await edge?.stop();
      await Promise.all([...cells.values()].map((part) => part.stop()));
      await Promise.all(allParts().map((part) => part.stop()));
    },
    kill() {
      isStopped = true;
      for (const part of allParts()) part.kill();
    },
    describe() {
      const jurisdictionOf = jurisdictionsByRegion(file);
      return {
        edge: {
          url: edge?.url ?? "",
          ...pidOf(edge),
          hostnames: Object.fromEntries(
            Object.entries(file.jurisdictions).map(([id, { hostnames }]) => [
              id,
              hostnames[0] ?? "",
            ]),
          ),
        },
        keys: { ...plan.keys.keys, admin: plan.keys.adminKey },
        cells: Object.entries(file.cells).map(([id, { region, url }]) => ({
          id,
          jurisdiction: jurisdictionOf.get(region) ?? "",
          region,
          url: cells.get(id)?.url ?? url,
          ...pidOf(cells.get(id)),
        })),
        shards: Object.entries(file.shards).map(([id, { cell, model, backend }]) => ({
          id,
          cell,
          model,
          url: engines.get(id)?.url ?? ("url" in backend ? (backend.url ?? "") : ""),
          ...pidOf(engines.get(id)),
        })),
        databases: Object.entries(file.regions).map(([region, { database }]) => ({
          region,
          url: databases.get(region)?.url ?? plan.environment[database.slice(4)] ?? "",
          ...pidOf(databases.get(region)),
        })),
        health: { url: health?.url ?? "", token: secrets.healthToken, ...pidOf(health) },
      };
    },
  };
}

/** The variables of the user's environment that a cell needs: keys of its shards and of its region's scaler, and its region's database. */
export function neededVariables(file: TopologyFile, cell: string): readonly string[] {
  const regionId = file.cells[cell]?.region ?? "";
  const region = file.regions[regionId];
  const pooled = Object.values(file.scaling?.[regionId]?.pools ?? {}).flatMap(
    ({ shards }) => shards,
  );
  const scaled = pooled.flatMap((id) => {
    const backend = file.shards[id]?.backend;
    if (backend?.kind !== "modal" || backend.autoscaler === undefined) return [];
    return [backend.autoscaler.tokenId, backend.autoscaler.tokenSecret];
  });
  const references = Object.values(file.shards)
    .filter((shard) => shard.cell === cell)
    .flatMap(({ backend }) => {
      if (backend.kind === "openai-compatible") return [backend.apiKey ?? ""];
      return backend.kind === "modal" ? [backend.key, backend.secret] : [];
    });
  return [region?.database ?? "", ...references, ...scaled]
    .filter((reference) => reference.startsWith("env:"))
    .map((reference) => reference.slice("env:".length));
}

async function checkPorts(file: TopologyFile, edgePort: number): Promise<void> {
  const taken: string[] = [];
  if (edgePort !== 0 && !(await isPortFree(edgePort)))
    taken.push(
      `Port ${edgePort} of 127.0.0.1 is taken. Stop what listens there, or choose another: npm run dev -- --port ${edgePort + 1}`,
    );
  for (const [id, { url }] of Object.entries(file.cells)) {
    const port = Number(new URL(url).port);
    if (port !== 0 && !(await isPortFree(port)))
      taken.push(`cells.${id}.url: port ${port} is taken, wanted a free one; 0 asks for any.`);
  }
  if (taken.length > 0) throw new StartError(taken.join("\n"));
}

function jurisdictionsByRegion(file: TopologyFile): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(file.jurisdictions).flatMap(([id, { regions }]) =>
      regions.map((region): [string, string] => [region, id]),
    ),
  );
}

function urlsOf(parts: ReadonlyMap<string, Part>): Readonly<Record<string, string>> {
  const started = [...parts].filter(([, part]) => part.url !== "");
  return Object.fromEntries(started.map(([id, part]) => [id, part.url]));
}

function replicaUrl(health: Part | null, region: string): string {
  const regions = health?.announcement["regions"];
  const found = typeof regions === "object" && regions !== null ? Object.entries(regions) : [];
  const url = found.find(([id]) => id === region)?.[1];
  return typeof url === "string" ? url : (health?.url ?? "");
}

function pidOf(part: Part | null | undefined): { readonly pid?: number } {
  return part?.pid === undefined ? {} : { pid: part.pid };
}

function describeFailure(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
