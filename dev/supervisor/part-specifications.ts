import { join } from "node:path";
import { ggufContextTokensMax, ggufSequences } from "./gguf-model.ts";
import type { GgufModel } from "./gguf-model.ts";
import type { PartSpecification } from "./part.ts";
import type { TopologyFile } from "./topology-file.ts";

/** Where the parts' sources and state are. */
export interface Places {
  /** The repository's root. */
  readonly root: string;
  readonly logs: string;
}

/** Fast enough that an answer of 100 tokens takes a third of a second, slow enough that streaming is seen. */
const engineSpeed = 3;
const engineProfile = "h100-8b";

function logPath(places: Places, name: string): string {
  return join(places.logs, `${name.replaceAll("/", "_")}.log`);
}

function nothing(): Readonly<Record<string, string>> {
  return {};
}

/** A simulated engine for a shard. */
export function enginePart(places: Places, file: TopologyFile, id: string): PartSpecification {
  const shard = file.shards[id];
  const backend = shard?.backend;
  if (shard === undefined || backend?.kind !== "simulated")
    throw new TypeError(`${id} is no simulated shard`);
  const kvTokens = shard.capacity.kvTokensMax;
  const contextTokens = file.models[shard.model]?.contextTokensMax ?? kvTokens;
  return {
    name: id,
    logPath: logPath(places, id),
    args: (port) => [
      join(places.root, "dev/simulated-engine/index.ts"),
      "--port",
      String(port),
      "--model",
      shard.model,
      "--revision",
      file.models[shard.model]?.revision ?? "",
      "--profile",
      backend.profile ?? engineProfile,
      "--speed",
      String(backend.speed ?? engineSpeed),
      "--cold-start-ms",
      String(backend.coldStartMs ?? 0),
      "--scale-to-zero-ms",
      String(1_000 * (shard.scaleToZeroSeconds ?? 0)),
      "--while-cold",
      backend.whileCold ?? "refuse",
      "--concurrent-max",
      String(shard.capacity.concurrentRequestsMax),
      "--kv-tokens",
      String(kvTokens),
      // The engine holds a context in whole blocks of 16 tokens.
      "--context-tokens-max",
      String(Math.min(contextTokens, kvTokens - (kvTokens % 16))),
      "--exit-with-parent",
    ],
    environment: nothing,
    // A cold engine answers 503 on every path for as long as its start is simulated; the cells probe that.
    readyPath: null,
    livePath: null,
    stopMs: 3_000,
  };
}

/** An engine that serves a GGUF file; it is ready when it has loaded it. */
export function ggufPart(places: Places, engine: number, model: GgufModel): PartSpecification {
  const name = `gguf-${engine}`;
  return {
    name,
    logPath: logPath(places, name),
    args: (port) => [
      join(places.root, "dev/gguf-engine/index.ts"),
      "--port",
      String(port),
      "--file",
      model.path,
      "--model",
      model.name,
      "--context-tokens-max",
      String(ggufContextTokensMax),
      "--sequences",
      String(ggufSequences),
      "--exit-with-parent",
    ],
    environment: nothing,
    readyPath: null,
    livePath: null,
    stopMs: 3_000,
  };
}

/** The embedded Postgres of a region. */
export function databasePart(places: Places, region: string, dataDir: string): PartSpecification {
  return {
    name: `database ${region}`,
    logPath: logPath(places, `database-${region}`),
    args: (port) => [
      join(places.root, "dev/database/index.ts"),
      "--port",
      String(port),
      "--data",
      dataDir,
      "--region",
      region,
      "--exit-with-parent",
    ],
    environment: nothing,
    readyPath: null,
    livePath: null,
    stopMs: 10_000,
  };
}

/** The local health KV, with one replica per region. */
export function healthPart(
  places: Places,
  options: {
    readonly regions: readonly string[];
    readonly token: string;
    readonly readOnlyToken: string;
    readonly replicationLagMs: number;
    readonly dataFile: string;
  },
): PartSpecification {
  return {
    name: "health KV",
    logPath: logPath(places, "health-kv"),
    args: (port) => [
      join(places.root, "dev/upstash/index.ts"),
      "--port",
      String(port),
      "--regions",
      options.regions.join(","),
      "--token",
      options.token,
      "--read-only-token",
      options.readOnlyToken,
      "--data",
      options.dataFile,
      "--replication-lag-ms",
      String(options.replicationLagMs),
      "--exit-with-parent",
    ],
    environment: nothing,
    readyPath: null,
    livePath: null,
    stopMs: 5_000,
  };
}

/** A cell. `environment` holds all that it is configured with but its port. */
export function cellPart(
  places: Places,
  id: string,
  options: { readonly port: number; readonly environment: Readonly<Record<string, string>> },
): PartSpecification {
  return {
    name: id,
    logPath: logPath(places, id),
    args: () => [
      "--import",
      join(places.root, "dev/supervisor/exit-with-parent.ts"),
      join(places.root, "regional/index.ts"),
    ],
    environment: (port) => ({
      ...options.environment,
      MERIDIAN_PORT: String(port === 0 ? options.port : port),
    }),
    readyPath: "/readyz",
    livePath: null,
    stopMs: 5_000,
  };
}

/** The edge under `wrangler dev`. Its bindings come from a file, so that no secret is in a list of processes. */
export function edgePart(
  places: Places,
  options: {
    readonly port: number;
    readonly inspectorPort: number;
    readonly bindingsFile: string;
    readonly persistTo: string;
    readonly wranglerLogs: string;
  },
): PartSpecification {
  return {
    name: "edge",
    logPath: logPath(places, "edge"),
    args: () => [
      "--no-warnings",
      "--import",
      join(places.root, "dev/supervisor/exit-with-parent.ts"),
      "--import",
      join(places.root, "dev/supervisor/outlive-proxy-errors.ts"),
      // Not bin/wrangler.js: that starts this file as a child, which outlives it when it is killed.
      join(places.root, "node_modules/wrangler/wrangler-dist/cli.js"),
      "dev",
      "--config",
      join(places.root, "wrangler.toml"),
      "--env",
      "",
      "--env-file",
      options.bindingsFile,
      "--ip",
      "127.0.0.1",
      "--port",
      String(options.port),
      "--inspector-port",
      String(options.inspectorPort),
      "--persist-to",
      options.persistTo,
      // The lowest level that shows what the Worker itself logs.
      "--log-level",
      "log",
      "--show-interactive-dev-session=false",
    ],
    environment: () => ({
      WRANGLER_SEND_METRICS: "false",
      WRANGLER_SEND_ERROR_REPORTS: "false",
      WRANGLER_HIDE_BANNER: "true",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_LOG_PATH: options.wranglerLogs,
      NO_COLOR: "1",
    }),
    url: `http://127.0.0.1:${options.port}`,
    readyPath: "/readyz",
    // A wrangler whose workerd was killed goes on and answers nothing.
    livePath: "/healthz",
    stopMs: 4_000,
  };
}
