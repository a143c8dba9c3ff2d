import type { TopologyFile } from "./topology-file.ts";

/** What the started parts turned out to be. */
export interface StartedUrls {
  /** By shard. */
  readonly engines: Readonly<Record<string, string>>;
  /** By cell; a cell without one keeps the URL of the file. */
  readonly cells: Readonly<Record<string, string>>;
}

/** The variable that gives a cell the URL of its region's embedded database. */
export function databaseVariable(region: string): string {
  return `DATABASE_URL_${region.toUpperCase().replaceAll("-", "_")}`;
}

/** The shards that `npm run dev` starts an engine for. */
export function shardsToStart(file: TopologyFile): readonly string[] {
  return Object.entries(file.shards)
    .filter(([, { backend }]) => backend.kind === "simulated" && backend.url === undefined)
    .map(([id]) => id);
}

/** The regions that `npm run dev` starts a database for: those with a cell and no database of their own. */
export function regionsToStart(file: TopologyFile): readonly string[] {
  const used = new Set(Object.values(file.cells).map((cell) => cell.region));
  return Object.entries(file.regions)
    .filter(([id, region]) => region.database === "embedded" && used.has(id))
    .map(([id]) => id);
}

/** The topology with the URLs of what runs, as the edge and the cells get it. */
export function resolveTopology(file: TopologyFile, urls: StartedUrls): TopologyFile {
  const started = new Set(regionsToStart(file));
  return {
    ...file,
    regions: mapValues(file.regions, (region, id) =>
      started.has(id) ? { ...region, database: `env:${databaseVariable(id)}` } : region,
    ),
    cells: mapValues(file.cells, (cell, id) => ({ ...cell, url: urls.cells[id] ?? cell.url })),
    shards: mapValues(file.shards, (shard, id) => {
      const url = urls.engines[id];
      const { backend } = shard;
      if (url === undefined) return shard;
      if (backend.kind !== "simulated" && backend.kind !== "openai-compatible") return shard;
      return { ...shard, backend: { ...backend, url } };
    }),
  };
}

function mapValues<Value>(
  record: Readonly<Record<string, Value>>,
  change: (value: Value, key: string) => Value,
): Record<string, Value> {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [key, change(value, key)]),
  );
}
