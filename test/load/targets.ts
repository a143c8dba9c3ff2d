import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { edgeBindings, testTopology } from "#test/support/edge-bindings.ts";
import { testKeys } from "#test/support/edge-keys.ts";
import { printed, start } from "./processes.ts";
import type { Started } from "./processes.ts";
import { serveWorker } from "./workerd.ts";

/** One way to the engine, with the processes whose cost is counted, by their part. */
export interface Target {
  readonly name: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly isStored: boolean;
  /** Whether its requests go on with conversations that are there and in memory. */
  readonly isWarm: boolean;
  readonly parts: Readonly<Record<string, Started>>;
}

/** The model of the engine mock. */
export const model = "bench/model";
/** The default, which an operator would run with: a line for each request at the edge, and one for each turn at the cell. */
export const logLevel = "info";
const listening = /"url":"(http:[^"]+)"/;

/** Starts a TypeScript process of this repository that prints its URL. */
async function startScript(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  pattern = listening,
  core: 0 | 1 = 1,
): Promise<{ readonly process: Started; readonly url: string }> {
  const process_ = start(process.execPath, args, { core, environment });
  return { process: process_, url: await printed(process_, pattern) };
}

/** The engine that every target ends at. */
export async function startEngine(): Promise<{ readonly process: Started; readonly url: string }> {
  return startScript(["test/load/engine-mock.ts"]);
}

/** Builds the edge as it would be deployed; returns the folder of the bundle. */
export function buildBundle(folder: string): string {
  const bundle = join(folder, "bundle");
  const wrangler = "node_modules/wrangler/bin/wrangler.js";
  const built = spawnSync(
    process.execPath,
    [wrangler, "deploy", "--dry-run", "--env=", "--outdir", bundle],
    {
      encoding: "utf8",
      env: {
        ...process.env,
        WRANGLER_SEND_METRICS: "false",
        WRANGLER_SEND_ERROR_REPORTS: "false",
        WRANGLER_HIDE_BANNER: "true",
        WRANGLER_LOG_PATH: join(folder, "logs"),
      },
    },
  );
  if (built.status !== 0) throw new Error(`${built.stdout}${built.stderr}`);
  if (!readdirSync(bundle).includes("index.js")) throw new Error("no bundle was built");
  return bundle;
}

/** A small Worker of test/load/workers in front of the engine. */
export async function startWorker(
  folder: string,
  engine: string,
  options: { readonly name: string; readonly main: string; readonly writes?: "0" | "1" },
): Promise<Target> {
  const { process: workerd, url } = await serveWorker({
    folder: resolve("test/load/workers"),
    main: options.main,
    bindings: { ENGINE: engine, WRITES: options.writes ?? "0" },
    classes: options.writes === undefined ? {} : { PROBE: "Probe" },
    storage: mkdtempSync(join(folder, "objects-")),
  });
  return {
    name: options.name,
    url,
    headers: {},
    isStored: false,
    isWarm: false,
    parts: { workerd },
  };
}

/** A pass-through of Hono on Node, whose process stands where the cell's does. */
export async function startHonoOnNode(engine: string): Promise<Target> {
  const started = await startScript(["test/load/workers/hono-node.ts"], { ENGINE: engine });
  const { process: cell, url } = started;
  return {
    name: "Hono on Node",
    url,
    headers: {},
    isStored: false,
    isWarm: false,
    parts: { cell },
  };
}

function topologyText(cellUrl: string, engine: string): string {
  return JSON.stringify({
    jurisdictions: { eu: { hostnames: ["eu.localhost"], objects: "eu", regions: ["eu-west-1"] } },
    regions: {
      "eu-west-1": { latitude: 53.35, longitude: -6.26, database: "env:BENCH_DATABASE_URL" },
    },
    cells: { "eu-west-1a": { region: "eu-west-1", zone: "a", url: cellUrl } },
    models: {
      [model]: {
        revision: "r1",
        contextTokensMax: 131_072,
        capabilities: ["chat", "completions"],
        priceMicroUsdPerMillionTokens: { input: 100_000, output: 200_000 },
      },
    },
    shards: {
      "eu-west-1a/bench-0": {
        cell: "eu-west-1a",
        model,
        backend: { kind: "simulated", url: `${engine}/v1` },
        capacity: { concurrentRequestsMax: 4_000, kvTokensMax: 1_000_000_000 },
        purchase: "on-demand",
        pricePerHourMicroUsd: 1,
      },
    },
    // Far above what is measured: the ledger is asked as it is in production, and refuses nothing.
    tenants: {
      acme: {
        ...testTopology.tenants.acme,
        limits: { requestsPerSecond: 1_000_000, requestsBurstMax: 1_000_000 },
      },
    },
    admin: testTopology.admin,
  });
}

/** A cell with its database and health KV. */
export interface CellStack {
  readonly cell: { readonly process: Started; readonly url: string };
  readonly database: Started;
  readonly healthUrl: string;
  /** The folder of what they keep. */
  readonly own: string;
}

/** Starts a cell in front of the engine, with a database and a health KV of its own. */
export async function startCell(
  folder: string,
  engine: string,
  core: 0 | 1 = 1,
): Promise<CellStack> {
  const own = mkdtempSync(join(folder, "stack-"));
  const data = join(own, "data");
  mkdirSync(data);
  const [database, health] = await Promise.all([
    startScript(
      ["dev/database/index.ts", "--port", "0", "--data", data, "--region", "eu-west-1"],
      {},
      /"url":"(postgres[^"]+)"/,
    ),
    startScript([
      ...["dev/upstash/index.ts", "--port", "0", "--regions", "eu-west-1"],
      ...["--token", "writer", "--read-only-token", "reader"],
    ]),
  ]);
  const file = join(own, "topology.jsonc");
  writeFileSync(file, topologyText("http://127.0.0.1:0", engine));
  const cell = await startScript(
    ["regional/index.ts"],
    {
      MERIDIAN_TOPOLOGY: file,
      MERIDIAN_CELL: "eu-west-1a",
      MERIDIAN_DATA_DIR: join(own, "cell"),
      CELL_SIGNING_KEYS: edgeBindings["CELL_SIGNING_KEYS"] ?? "",
      CACHE_SALT_KEY: "44".repeat(32),
      HEALTH_KV_URL: health.url,
      HEALTH_KV_TOKEN: "writer",
      HEALTH_MAC_KEY: edgeBindings["HEALTH_MAC_KEY"] ?? "",
      BENCH_DATABASE_URL: database.url,
      LOG_LEVEL: logLevel,
    },
    listening,
    core,
  );
  return { cell, database: database.process, healthUrl: health.url, own };
}

/** Meridian whole: bundle under workerd, a cell, its database, the health KV; one stack for each lane. */
export async function startMeridian(
  folder: string,
  engine: string,
  options: {
    readonly name: string;
    readonly bundle: string;
    readonly isStored: boolean;
    readonly isWarm?: boolean;
  },
): Promise<Target> {
  const { cell, database, healthUrl, own } = await startCell(folder, engine);
  const edge = await serveWorker({
    folder: options.bundle,
    main: "index.js",
    bindings: {
      ...edgeBindings,
      LOG_LEVEL: logLevel,
      TOPOLOGY: topologyText(cell.url, engine),
      HEALTH_KV_URL: healthUrl,
      HEALTH_KV_TOKEN: "reader",
    },
    classes: { CONVERSATION: "Conversation", TENANT_LEDGER: "TenantLedger" },
    storage: mkdtempSync(join(own, "objects-")),
  });
  return {
    name: options.name,
    url: edge.url,
    headers: { authorization: `Bearer ${testKeys.acme}` },
    isStored: options.isStored,
    isWarm: options.isWarm ?? false,
    parts: { workerd: edge.process, cell: cell.process, database },
  };
}

/** The client's body: streamed or not, with the word that tells the engine its pace. */
export function bodyOf(
  target: Target,
  isStreamed: boolean,
  pace: "fast" | "paced" | "held",
): string {
  return JSON.stringify({
    model,
    messages: [{ role: "user", content: `Question {{n}}, of no weight. [[${pace}]]` }],
    ...(isStreamed ? { stream: true } : {}),
    ...(target.isStored ? { store: true } : {}),
  });
}
