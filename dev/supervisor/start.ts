import { createServer } from "node:net";
import { spawn } from "node:child_process";
import { mkdirSync, renameSync, existsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Topology } from "#shared/config/topology.ts";
import type { DevOptions } from "./options.ts";
import { StartError } from "./options.ts";
import { createPart } from "./part.ts";
import type { Part, PartCommand } from "./part.ts";
import { findEngine, offerEngine } from "./running-engine.ts";
import { openStateFolder, publishReceiptKey } from "./state-folder.ts";
import type { StateFolder } from "./state-folder.ts";
import { describeSystem } from "./table.ts";
import {
  checkTopology,
  missingVariables,
  readTopologyFile,
  withDevKeys,
  withEngine,
} from "./topology-file.ts";
import type { TopologyFile } from "./topology-file.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What scripts and tests find in `.meridian/dev.json`; its names are fixed (docs/architecture.md). */
export interface DevDescription {
  readonly edge: {
    readonly url: string;
    readonly pid: number;
    readonly hostnames: Readonly<Record<string, string>>;
  };
  readonly keys: Readonly<Record<string, string>>;
  readonly cells: readonly {
    readonly id: string;
    readonly jurisdiction: string;
    readonly region: string;
    readonly url: string;
    readonly pid: number;
  }[];
  readonly shards: readonly {
    readonly id: string;
    readonly cell: string;
    readonly model: string;
    readonly url: string;
    readonly pid?: number;
  }[];
  readonly databases: readonly {
    readonly region: string;
    readonly url: string;
    readonly pid?: number;
  }[];
  readonly health: { readonly url: string; readonly token: string; readonly pid: number };
}

/** A running system. */
export interface DevSystem {
  readonly description: () => DevDescription;
  /** Ends every part in order; safe to call twice, the second time without patience. */
  stop(): Promise<void>;
}

/** The environment of every part: what a process needs, and nothing of ours. */
function plainEnvironment(): Record<string, string> {
  const kept = ["PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "SystemRoot"];
  return Object.fromEntries(
    kept.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** A port that is free now; checked again by whoever listens on it. */
async function freePort(wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", () =>
      reject(
        new StartError(
          `Port ${wanted} on 127.0.0.1 is taken. Stop what uses it, or start with --port N (0 = a free one).`,
        ),
      ),
    );
    server.listen(wanted, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** Asks `url` until it answers 200 or the signal aborts. */
async function untilOk(
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const response = await fetch(url, {
        headers,
        signal: AbortSignal.any([signal, AbortSignal.timeout(2_000)]),
      });
      await response.body?.cancel();
      if (response.ok) return;
    } catch {
      // Not there yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  throw new Error("stopped");
}

/** A value for a dotenv file: single quotes keep everything but themselves; `$` would be expanded. */
function dotenvLine(name: string, value: string): string {
  return `${name}='${value.replaceAll("'", "\\u0027").replaceAll("$", "\\u0024")}'`;
}

/**
 * Starts the whole system from a topology: engines, databases and KV, then the cells, then the edge. Resolves when
 * everything answers. When a part does not start, everything that was started is ended again.
 * @throws StartError with a message for a person.
 */
export async function startSystem(
  options: DevOptions,
  say: (line: string) => void,
): Promise<DevSystem> {
  let { file } = readTopologyFile(options.topologyFile);
  if (options.engineUrl !== null) {
    const engine = await findEngine(options.engineUrl);
    say(`engine      ${engine.url} serves ${engine.models.join(", ")}`);
    file = withEngine(file, engine.url, engine.models);
  }
  const missing = missingVariables(file, process.env);
  if (missing.length > 0) {
    throw new StartError(
      `Variables that the topology names are not set:\n${missing.map((entry) => `  ${entry.slice(4)}`).join("\n")}`,
    );
  }
  for (const [id, shard] of Object.entries(file.shards)) {
    if (shard.backend.kind === "sagemaker" || shard.backend.kind === "modal") {
      throw new StartError(
        `shards.${id}.backend.kind: got "${shard.backend.kind}", wanted openai-compatible or simulated: this version has no ${shard.backend.kind} backend.`,
      );
    }
  }
  const edgePort = await freePort(options.port);
  const inspectorPort = await freePort(0);
  const state = openStateFolder(options.stateDir, options.isFresh);
  const system = new System(options, state, say);
  try {
    await system.start(file, edgePort, inspectorPort);
    return system;
  } catch (error) {
    await system.stop();
    if (error instanceof StartError) throw error;
    throw new StartError(error instanceof Error ? error.message : "The system did not start.");
  }
}

class System implements DevSystem {
  readonly #options: DevOptions;
  readonly #state: StateFolder;
  readonly #say: (line: string) => void;
  readonly #reaper: ReturnType<typeof spawn>;
  readonly #engines = new Map<string, Part>();
  readonly #databases = new Map<string, Part>();
  readonly #cells = new Map<string, Part>();
  #kv: Part | null = null;
  #edge: Part | null = null;
  #edgeWatch: NodeJS.Timeout | null = null;
  #file: TopologyFile | null = null;
  #topology: Topology | null = null;
  #isReady = false;
  #stopping: Promise<void> | null = null;

  constructor(options: DevOptions, state: StateFolder, say: (line: string) => void) {
    this.#options = options;
    this.#state = state;
    this.#say = say;
    this.#reaper = spawn(process.execPath, [join(root, "dev/supervisor/reaper.ts")], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
      env: plainEnvironment(),
    });
    this.#reaper.stdin?.on("error", () => undefined);
  }

  #part(
    kind: string,
    id: string,
    command: (port: number | null) => PartCommand,
    ready: "line" | ((signal: AbortSignal) => Promise<string>) = "line",
  ): Part {
    const name = id === "" ? kind : `${kind} ${id}`;
    const logFile = join(this.#state.path, "logs", `${name.replaceAll(/[^a-z0-9]+/gi, "-")}.log`);
    if (existsSync(logFile)) renameSync(logFile, `${logFile}.1`);
    return createPart({
      name,
      logFile,
      command,
      ready,
      readyTimeoutMs: 60_000,
      onChange: () => {
        if (this.#isReady && this.#stopping === null) this.#writeDescription();
      },
      report: (message) => this.#say(message),
      watch: (action, pid) => void this.#reaper.stdin?.write(`${action} ${pid}\n`),
    });
  }

  async #startAll(title: string, parts: Iterable<Part>): Promise<void> {
    await Promise.all(
      [...parts].map(async (part) => {
        await part.start();
        this.#say(`started     ${part.name}`);
      }),
    );
    this.#say(`ready       ${title}`);
  }

  async start(given: TopologyFile, edgePort: number, inspectorPort: number): Promise<void> {
    const { secrets } = this.#state;
    const { file: keyed, keys } = withDevKeys(
      given,
      secrets.tenantKeys,
      secrets.adminKey,
      process.env,
    );
    this.#state.keepTenantKeys(keys);
    publishReceiptKey(this.#state.path, secrets.receiptKey);
    publishReceiptKey(join(process.cwd(), ".meridian"), secrets.receiptKey);

    const script = (path: string): string => join(root, path);
    for (const [id, shard] of Object.entries(keyed.shards)) {
      const { backend } = shard;
      if (backend.kind !== "simulated" || backend.url !== undefined) continue;
      const model = keyed.models[shard.model];
      this.#engines.set(
        id,
        this.#part("shard", id, (port) => ({
          args: [
            script("dev/simulated-engine/index.ts"),
            ...["--port", String(port ?? 0), "--model", shard.model],
            ...["--revision", model?.revision ?? "", "--profile", backend.profile ?? "h100-8b"],
            ...["--speed", String(backend.speed ?? 1)],
            // A restarted engine has loaded its weights already: only the first start is cold.
            ...["--cold-start-ms", String(port === null ? (backend.coldStartMs ?? 0) : 0)],
            ...["--concurrent-max", String(shard.capacity.concurrentRequestsMax)],
            ...["--kv-tokens", String(shard.capacity.kvTokensMax)],
            ...["--context-tokens-max", String(model?.contextTokensMax ?? 131_072)],
            "--exit-with-parent",
          ],
          environment: plainEnvironment(),
        })),
      );
    }
    for (const [id, region] of Object.entries(keyed.regions)) {
      if (region.database !== "embedded") continue;
      const data = join(this.#state.path, "databases", id);
      mkdirSync(dirname(data), { recursive: true });
      this.#databases.set(
        id,
        this.#part("database", id, (port) => ({
          args: [
            script("dev/database/index.ts"),
            ...["--port", String(port ?? 0), "--data", data, "--region", id, "--exit-with-parent"],
          ],
          environment: plainEnvironment(),
        })),
      );
    }
    const kv = this.#part("health KV", "", (port) => ({
      args: [
        script("dev/upstash/index.ts"),
        ...["--port", String(port ?? 0), "--regions", Object.keys(keyed.regions).join(",")],
        ...["--token", secrets.healthToken, "--read-only-token", secrets.healthReadOnlyToken],
        ...["--data", join(this.#state.path, "health-kv.json")],
        ...["--replication-lag-ms", String(this.#options.replicationLagMs), "--exit-with-parent"],
      ],
      environment: plainEnvironment(),
    }));
    this.#kv = kv;
    await this.#startAll("shards, databases, health KV", [
      ...this.#engines.values(),
      ...this.#databases.values(),
      kv,
    ]);

    const withShards = this.#resolve(keyed);
    checkTopology(withShards, this.#options.topologyFile);
    this.#state.writePrivate("topology.cells.json", JSON.stringify(withShards, null, 2));
    for (const id of Object.keys(withShards.cells))
      this.#cells.set(id, this.#cellPart(id, withShards));
    await this.#startAll("cells", this.#cells.values());

    this.#file = this.#resolve(keyed);
    this.#topology = checkTopology(this.#file, this.#options.topologyFile);
    this.#edge = this.#edgePart(this.#file, edgePort, inspectorPort);
    await this.#startAll("edge", [this.#edge]);
    await Promise.all(
      [...this.#cells.values()].map((cell) =>
        untilOk(`${cell.url()}/readyz`, {}, AbortSignal.timeout(60_000)).catch(() => {
          throw new StartError(
            `${cell.name} did not become ready; see its log in ${join(this.#state.path, "logs")}`,
          );
        }),
      ),
    );
    this.#watchEdge();
    this.#isReady = true;
    this.#writeDescription();
    for (const line of describeSystem(this.description(), this.#topology)) this.#say(line);
    const offer = this.#options.engineUrl === null ? await offerEngine() : null;
    if (offer !== null) {
      this.#say(
        `\n${offer.name} answers at ${offer.url} (${offer.model}). To serve its models through the cells:\n  npm run dev -- --engine ${offer.url}`,
      );
    }
  }

  /** The topology with the addresses that are known by now. */
  #resolve(file: TopologyFile): TopologyFile {
    return {
      ...file,
      regions: Object.fromEntries(
        Object.entries(file.regions).map(([id, region]) => [
          id,
          this.#databases.has(id) ? { ...region, database: `env:${databaseVariable(id)}` } : region,
        ]),
      ),
      cells: Object.fromEntries(
        Object.entries(file.cells).map(([id, cell]) => [
          id,
          { ...cell, url: this.#cells.get(id)?.url() || cell.url },
        ]),
      ),
      shards: Object.fromEntries(
        Object.entries(file.shards).map(([id, shard]) => {
          const url = this.#engines.get(id)?.url();
          if (url === undefined || shard.backend.kind !== "simulated") return [id, shard];
          return [id, { ...shard, backend: { ...shard.backend, url } }];
        }),
      ),
    };
  }

  #cellPart(id: string, file: TopologyFile): Part {
    const { secrets } = this.#state;
    return this.#part("cell", id, (port) => {
      const named: Record<string, string> = {};
      for (const region of this.#databases.keys()) {
        if (region === file.cells[id]?.region)
          named[databaseVariable(region)] = this.#databases.get(region)?.url() ?? "";
      }
      for (const entry of JSON.stringify(file).match(/env:[A-Z][A-Z0-9_]*/g) ?? []) {
        const name = entry.slice("env:".length);
        const value = process.env[name];
        if (value !== undefined) named[name] = value;
      }
      const regionUrl = `${this.#kv?.url() ?? ""}/regions/${file.cells[id]?.region ?? ""}`;
      return {
        args: [join(root, "regional/index.ts")],
        environment: {
          ...plainEnvironment(),
          ...named,
          MERIDIAN_TOPOLOGY: join(this.#state.path, "topology.cells.json"),
          MERIDIAN_CELL: id,
          ...(port === null ? {} : { MERIDIAN_PORT: String(port) }),
          MERIDIAN_DATA_DIR: join(this.#state.path, "cells", id),
          CELL_SIGNING_KEYS: this.#signingKeys(),
          CACHE_SALT_KEY: secrets.cacheSaltKey,
          HEALTH_KV_URL: regionUrl,
          HEALTH_KV_TOKEN: secrets.healthToken,
          HEALTH_MAC_KEY: secrets.healthMacKey,
        },
      };
    });
  }

  #signingKeys(): string {
    return JSON.stringify({ current: "dev1", keys: { dev1: this.#state.secrets.cellSigningKey } });
  }

  #edgePart(file: TopologyFile, port: number, inspectorPort: number): Part {
    const { secrets, path } = this.#state;
    const region = Object.keys(file.regions)[0] ?? "";
    const values: Record<string, string> = {
      TOPOLOGY: JSON.stringify(file),
      ENVIRONMENT: "development",
      IDENTIFIER_KEY: secrets.identifierKey,
      CELL_SIGNING_KEYS: this.#signingKeys(),
      RECEIPT_SIGNING_KEY: JSON.stringify(secrets.receiptKey),
      HEALTH_KV_URL: `${this.#kv?.url() ?? ""}/regions/${region}`,
      HEALTH_KV_TOKEN: secrets.healthReadOnlyToken,
      HEALTH_MAC_KEY: secrets.healthMacKey,
    };
    for (const [, entry] of JSON.stringify(file.tenants).matchAll(/"env:([A-Z][A-Z0-9_]*)"/g)) {
      const value = entry === undefined ? undefined : process.env[entry];
      if (entry !== undefined && value !== undefined) values[entry] = value;
    }
    const lines = Object.entries(values).map(([name, value]) => dotenvLine(name, value));
    const environmentFile = this.#state.writePrivate("edge.env", `${lines.join("\n")}\n`);
    const url = `http://127.0.0.1:${port}`;
    return this.#part(
      "edge",
      "",
      () => ({
        args: [
          join(root, "node_modules/wrangler/bin/wrangler.js"),
          ...[
            "dev",
            "--config",
            join(root, "wrangler.toml"),
            "--env",
            "",
            "--port",
            String(port),
            "--ip",
            "127.0.0.1",
          ],
          ...["--inspector-port", String(inspectorPort), "--persist-to", join(path, "edge")],
          ...["--env-file", environmentFile, "--var", "DO_JURISDICTION:emulate"],
          ...["--log-level", "error", "--show-interactive-dev-session=false"],
        ],
        environment: {
          ...plainEnvironment(),
          WRANGLER_SEND_METRICS: "false",
          WRANGLER_SEND_ERROR_REPORTS: "false",
          WRANGLER_HIDE_BANNER: "true",
          CLOUDFLARE_CF_FETCH_ENABLED: "false",
          WRANGLER_LOG_PATH: join(path, "logs", "wrangler"),
          NO_COLOR: "1",
        },
      }),
      async (signal) => {
        await untilOk(`${url}/healthz`, {}, signal);
        return url;
      },
    );
  }

  /** wrangler can outlive its workerd; the edge is then restarted as if it had crashed. */
  #watchEdge(): void {
    let misses = 0;
    this.#edgeWatch = setInterval(() => {
      const edge = this.#edge;
      if (edge === null || edge.pid() === 0) return;
      untilOk(`${edge.url()}/healthz`, {}, AbortSignal.timeout(1_500)).then(
        () => {
          misses = 0;
        },
        () => {
          misses += 1;
          if (misses < 3) return;
          misses = 0;
          edge.crash();
        },
      );
    }, 2_000);
  }

  description(): DevDescription {
    const file = this.#file;
    const { secrets, path: _ } = this.#state;
    if (file === null || this.#topology === null || this.#edge === null || this.#kv === null) {
      throw new Error("the system is not started");
    }
    const jurisdictionOf = (region: string): string =>
      Object.entries(file.jurisdictions).find(([, { regions }]) => regions.includes(region))?.[0] ??
      "";
    const keys: Record<string, string> = {};
    for (const [id, tenant] of Object.entries(file.tenants)) {
      const key = secrets.tenantKeys[id];
      if (key !== undefined && keys[tenant.jurisdiction] === undefined)
        keys[tenant.jurisdiction] = key;
    }
    return {
      edge: {
        url: this.#edge.url(),
        pid: this.#edge.pid(),
        hostnames: Object.fromEntries(
          Object.entries(file.jurisdictions).map(([id, { hostnames }]) => [id, hostnames[0] ?? ""]),
        ),
      },
      keys: { ...keys, admin: secrets.adminKey },
      cells: [...this.#cells].map(([id, part]) => {
        const region = file.cells[id]?.region ?? "";
        return {
          id,
          jurisdiction: jurisdictionOf(region),
          region,
          url: part.url(),
          pid: part.pid(),
        };
      }),
      shards: Object.entries(file.shards).map(([id, { cell, model, backend }]) => {
        const part = this.#engines.get(id);
        const url = "url" in backend ? (backend.url ?? "") : "";
        return part === undefined
          ? { id, cell, model, url }
          : { id, cell, model, url: part.url(), pid: part.pid() };
      }),
      databases: Object.entries(file.regions).map(([region, { database }]) => {
        const part = this.#databases.get(region);
        if (part !== undefined) return { region, url: part.url(), pid: part.pid() };
        return { region, url: process.env[database.slice("env:".length)] ?? "" };
      }),
      health: { url: this.#kv.url(), token: secrets.healthToken, pid: this.#kv.pid() },
    };
  }

  #writeDescription(): void {
    const file = join(this.#state.path, "dev.json");
    writeFileSync(`${file}.new`, `${JSON.stringify(this.description(), null, 2)}\n`, {
      mode: 0o600,
    });
    renameSync(`${file}.new`, file);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stopInOrder();
    return this.#stopping;
  }

  async #stopInOrder(): Promise<void> {
    if (this.#edgeWatch !== null) clearInterval(this.#edgeWatch);
    const groups: readonly (readonly [readonly (Part | null)[], number])[] = [
      [[this.#edge], 5_000],
      [[...this.#cells.values()], 5_000],
      [[...this.#engines.values(), ...this.#databases.values(), this.#kv], 5_000],
    ];
    for (const [parts, patienceMs] of groups) {
      await Promise.all(parts.map((part) => part?.stop("SIGTERM", patienceMs)));
    }
    this.#state.release();
    this.#reaper.stdin?.end();
  }
}

function databaseVariable(region: string): string {
  return `DATABASE_URL_${region.toUpperCase().replaceAll("-", "_")}`;
}
