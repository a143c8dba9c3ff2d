import * as z from "zod";
import type { DevFile } from "../../supervisor/dev-file.ts";

/** How long a part may take to tell its state, ms. */
const answerMsMax = 3_000;

const shardsSchema = z.object({
  data: z.array(z.object({ id: z.string(), state: z.string(), breaker: z.string().nullable() })),
});

const lifecyclesSchema = z.object({
  data: z.array(z.object({ id: z.string(), lifecycle: z.string().nullable() })),
});

/** What cells and edge say of themselves. */
export interface SystemState {
  readonly levels: Readonly<Record<string, number | null>>;
  readonly unusedShards: Readonly<Record<string, string>>;
}

/** The value of `meridian_overload_level` in a Prometheus text; null without one. Several series: the highest. */
export function levelIn(metrics: string): number | null {
  const values = [
    ...metrics.matchAll(/^meridian_overload_level(?:\{[^}\n]*\})? (\d+(?:\.\d+)?)$/gm),
  ].map(([, value]) => Number(value));
  return values.length === 0 ? null : Math.max(...values);
}

/** Asks all cells for their level and the edge for the shards. What does not answer is named as such. */
export async function readSystemState(file: DevFile): Promise<SystemState> {
  const [levels, unusedShards] = await Promise.all([
    Promise.all(file.cells.map(async ({ id, url }) => [id, await readLevel(url)] as const)),
    readUnusedShards(file),
  ]);
  return { levels: Object.fromEntries(levels), unusedShards };
}

async function readLevel(cellUrl: string): Promise<number | null> {
  try {
    const response = await fetch(`${cellUrl}/metrics`, {
      signal: AbortSignal.timeout(answerMsMax),
    });
    return levelIn(await response.text());
  } catch {
    return null;
  }
}

async function readShards(file: DevFile): Promise<unknown> {
  const response = await fetch(`${file.edge.url}/admin/v1/shards`, {
    headers: { authorization: `Bearer ${file.keys["admin"] ?? ""}` },
    signal: AbortSignal.timeout(answerMsMax),
  });
  return response.json();
}

/** By shard what its cell thinks that it is: `cold`, `warming`, `ready`, …. @throws Error when the edge does not tell. */
export async function readLifecycles(file: DevFile): Promise<ReadonlyMap<string, string>> {
  const { data } = lifecyclesSchema.parse(await readShards(file));
  return new Map(data.map(({ id, lifecycle }) => [id, lifecycle ?? "unknown"]));
}

async function readUnusedShards(file: DevFile): Promise<Readonly<Record<string, string>>> {
  try {
    const { data } = shardsSchema.parse(await readShards(file));
    return Object.fromEntries(
      data.flatMap(({ id, state, breaker }) =>
        state === "active" && breaker === "closed"
          ? []
          : [[id, `is ${state}, its breaker is ${breaker ?? "unknown"}`]],
      ),
    );
  } catch (error) {
    return { edge: `does not tell: ${error instanceof Error ? error.message : "no answer"}` };
  }
}

/** Whether every cell that could tell is at level 0: a metric that no cell has is taken for that, one that some lack is not. */
export function isLevelZero({ levels }: SystemState): boolean {
  const values = Object.values(levels);
  return values.every((level) => level === null) || values.every((level) => level === 0);
}

/** Whether every shard takes prompts. */
export function isEveryShardUsed({ unusedShards }: SystemState): boolean {
  return Object.keys(unusedShards).length === 0;
}
