import { mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import postgres from "postgres";
import * as z from "zod";
import { makeDevelopmentKeys } from "#dev/supervisor/development-keys.ts";
import { edgeBindings, signingKeys } from "#dev/supervisor/edge-bindings.ts";
import { createPart } from "#dev/supervisor/part.ts";
import type { Part } from "#dev/supervisor/part.ts";
import {
  cellPart,
  databasePart,
  enginePart,
  healthPart,
} from "#dev/supervisor/part-specifications.ts";
import {
  databaseVariable,
  regionsToStart,
  resolveTopology,
  shardsToStart,
} from "#dev/supervisor/resolve-topology.ts";
import { loadSecrets, receiptPublicKey } from "#dev/supervisor/secrets.ts";
import { readTopologyFile } from "#dev/supervisor/topology-file.ts";
import type { CellConnection, CellTerritory, Recordings, Territory } from "./findings.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const preload = fileURLToPath(new URL("record-connections.ts", import.meta.url));

const connectionLine = z.union([
  z.object({ kind: z.literal("connect"), connection: z.int(), to: z.string() }),
  z.object({ kind: z.literal("bytes"), connection: z.int(), text: z.string() }),
  z.object({ kind: z.enum(["datagram", "name", "process"]), to: z.string() }),
]);

/** Engines, databases, the health KV and cells as processes of their own; every way out of a cell is recorded. */
export interface RecordedSystem {
  readonly statePath: string;
  /** The bindings of an edge of this system. */
  readonly bindings: Readonly<Record<string, string>>;
  readonly keys: Readonly<Record<string, string>>;
  readonly territories: Readonly<Record<string, Territory>>;
  readonly cells: Readonly<Record<string, CellTerritory>>;
  /** Control addresses of a jurisdiction's engines. */
  engines(jurisdiction: string): readonly string[];
  connections(): readonly CellConnection[];
  /** Log files of every part. */
  logs(): Recordings["logs"];
  /** Every text that the engines of a jurisdiction were sent. */
  seenByShards(jurisdiction: string): Promise<string>;
  /** Every row of every table of a jurisdiction's databases. */
  seenByDatabases(jurisdiction: string): Promise<string>;
  stores(): Promise<Recordings["stores"]>;
  stop(): Promise<void>;
}

/** Starts everything but an edge, with the committed topology. @throws StartError when a part does not start. */
export async function startRecordedSystem(): Promise<RecordedSystem> {
  const statePath = mkdtempSync(join(tmpdir(), "meridian-residency-"));
  const logsPath = join(statePath, "logs");
  mkdirSync(logsPath);
  const { file: written } = readTopologyFile(join(root, "topology.jsonc"));
  const secrets = loadSecrets(join(statePath, "secrets.json"));
  const keys = makeDevelopmentKeys(written, {}, {});
  const { file } = keys;
  const places = { root, logs: logsPath };
  const listeners = { onMessage: () => undefined, onChange: () => undefined };
  const started: Part[] = [];

  async function startAll(parts: readonly Part[]): Promise<void> {
    started.push(...parts);
    await Promise.all(parts.map((part) => part.start()));
  }

  const shards = shardsToStart(file);
  const engines = new Map(
    shards.map((id) => [id, createPart(enginePart(places, file, id), listeners)]),
  );
  const databases = new Map(
    regionsToStart(file).map((region) => {
      const data = join(statePath, "databases", region);
      return [region, createPart(databasePart(places, region, data), listeners)];
    }),
  );
  mkdirSync(join(statePath, "health"));
  const health = createPart(
    healthPart(places, {
      regions: Object.keys(file.regions),
      token: secrets.healthToken,
      readOnlyToken: secrets.healthReadOnlyToken,
      replicationLagMs: 0,
      dataFile: join(statePath, "health", "snapshot.json"),
    }),
    listeners,
  );
  await startAll([...engines.values(), ...databases.values(), health]);
  const replicas = z.record(z.string(), z.url()).parse(health.announcement["regions"]);
  const urls = (parts: ReadonlyMap<string, Part>): Record<string, string> =>
    Object.fromEntries([...parts].map(([id, part]) => [id, part.url]));
  const topologyPath = join(statePath, "topology.json");
  writeFileSync(
    topologyPath,
    JSON.stringify(resolveTopology(file, { engines: urls(engines), cells: {} })),
  );

  const recordingOf = (cell: string): string => join(statePath, `${cell}.connections`);
  const cells = new Map(
    Object.entries(file.cells).map(([id, { region }]) => {
      const dataDir = join(statePath, "cells", id);
      mkdirSync(dataDir, { recursive: true });
      writeFileSync(recordingOf(id), "");
      const plain = cellPart(places, id, {
        port: 0,
        environment: {
          MERIDIAN_TOPOLOGY: topologyPath,
          MERIDIAN_CELL: id,
          MERIDIAN_DATA_DIR: dataDir,
          CELL_SIGNING_KEYS: signingKeys(secrets),
          CACHE_SALT_KEY: secrets.cacheSaltKey,
          HEALTH_KV_URL: replicas[region] ?? "",
          HEALTH_KV_TOKEN: secrets.healthToken,
          HEALTH_MAC_KEY: secrets.healthMacKey,
          LOG_LEVEL: "debug",
          RECORD_CONNECTIONS_TO: recordingOf(id),
          [databaseVariable(region)]: databases.get(region)?.url ?? "",
        },
      });
      const args = (port: number): readonly string[] => ["--import", preload, ...plain.args(port)];
      return [id, createPart({ ...plain, args }, listeners)];
    }),
  );
  await startAll([...cells.values()]);

  const cellsOf = (jurisdiction: string): readonly string[] =>
    Object.entries(file.cells)
      .filter(([, cell]) => file.jurisdictions[jurisdiction]?.regions.includes(cell.region))
      .map(([id]) => id);
  const shardsOf = (cell: string): readonly string[] =>
    shards.filter((id) => file.shards[id]?.cell === cell);
  const enginesOf = (jurisdiction: string): readonly string[] =>
    cellsOf(jurisdiction)
      .flatMap(shardsOf)
      .map((id) => new URL(engines.get(id)?.url ?? "").origin);

  async function seenByShards(jurisdiction: string): Promise<string> {
    const texts = enginesOf(jurisdiction).map(async (origin) =>
      (await fetch(`${origin}/control/requests`)).text(),
    );
    return (await Promise.all(texts)).join("\n");
  }

  async function seenByDatabases(jurisdiction: string): Promise<string> {
    const own = file.jurisdictions[jurisdiction]?.regions ?? [];
    const texts = own.map((region) => rowsOf(databases.get(region)?.url ?? ""));
    return (await Promise.all(texts)).join("\n");
  }

  const jurisdictions = Object.keys(file.jurisdictions);
  const firstRegion = Object.keys(file.regions)[0] ?? "";
  const kv = new URL(replicas[firstRegion] ?? "");
  // As the command line looks for them.
  const receiptKeys = JSON.stringify({ keys: [receiptPublicKey(secrets)] });
  writeFileSync(join(statePath, "receipt-keys.json"), receiptKeys);
  return {
    statePath,
    bindings: readBindings(
      edgeBindings({
        topology: resolveTopology(file, { engines: urls(engines), cells: urls(cells) }),
        secrets,
        healthUrl: replicas[firstRegion] ?? "",
        digests: keys.digests,
        logLevel: "debug",
      }),
    ),
    keys: keys.keys,
    territories: Object.fromEntries(
      jurisdictions.map((id) => [
        id,
        {
          cellOrigins: cellsOf(id).map((cell) => new URL(cells.get(cell)?.url ?? "").origin),
          healthKv: { origin: kv.origin, path: kv.pathname },
        },
      ]),
    ),
    cells: Object.fromEntries(
      Object.entries(file.cells).map(([id, { region }]) => {
        const own = shardsOf(id).map((shard) => placeOf(engines.get(shard)?.url ?? ""));
        return [
          id,
          {
            contentPlaces: [...own, placeOf(databases.get(region)?.url ?? "")],
            kvPlaces: [placeOf(replicas[region] ?? "")],
          },
        ];
      }),
    ),
    engines: enginesOf,
    connections: () =>
      [...cells.keys()].flatMap((id) => readConnections(id, readFileSync(recordingOf(id), "utf8"))),
    logs: () =>
      readdirSync(logsPath).map((name) => ({
        part: name,
        text: readFileSync(join(logsPath, name), "utf8"),
      })),
    seenByShards,
    seenByDatabases,
    async stores() {
      const looks = jurisdictions.flatMap((jurisdiction) => [
        { jurisdiction, place: `shards of ${jurisdiction}`, text: seenByShards(jurisdiction) },
        {
          jurisdiction,
          place: `databases of ${jurisdiction}`,
          text: seenByDatabases(jurisdiction),
        },
      ]);
      return Promise.all(looks.map(async (look) => ({ ...look, text: await look.text })));
    },
    async stop() {
      await Promise.all([...cells.values()].map((part) => part.stop()));
      await Promise.all(started.map((part) => part.stop()));
    },
  };
}

/** A cell's recording: one entry per connection, with all that was written to it. */
export function readConnections(cell: string, recording: string): readonly CellConnection[] {
  const byNumber = new Map<number, { to: string; text: string }>();
  const others: CellConnection[] = [];
  for (const line of recording.split("\n")) {
    if (line === "") continue;
    const record = connectionLine.parse(JSON.parse(line));
    if (record.kind === "connect") byNumber.set(record.connection, { to: record.to, text: "" });
    else if (record.kind === "bytes") {
      const connection = byNumber.get(record.connection);
      if (connection !== undefined) connection.text += record.text;
    } else others.push({ cell, to: `${record.kind} ${record.to}`, text: "" });
  }
  return [...[...byNumber.values()].map((one) => ({ cell, ...one })), ...others];
}

function placeOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port}`;
}

function readBindings(text: string): Record<string, string> {
  const bindings: Record<string, string> = {};
  for (const [name, value] of Object.entries(parseEnv(text)))
    if (value !== undefined) bindings[name] = value;
  return bindings;
}

async function rowsOf(url: string): Promise<string> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    const tables = await sql<{ table_name: string }[]>`
      select table_name from information_schema.tables where table_schema = 'public'`;
    const rows = [];
    for (const { table_name: name } of tables)
      rows.push(...(await sql`select * from ${sql(name)}`));
    return JSON.stringify(rows);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
