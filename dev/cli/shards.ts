import * as z from "zod";
import { formatTable } from "../supervisor/summary.ts";
import type { CommandIo } from "./receipts.ts";
import { readRunningSystem } from "./running-system.ts";

/** How long the edge may take to answer, ms: it asks every cell. */
const answerMsMax = 5_000;

const shardSchema = z.object({
  id: z.string(),
  cell: z.string(),
  model: z.string(),
  state: z.string(),
  in_flight: z.number().nullable(),
  breaker: z.string().nullable(),
  weight: z.number().nullable(),
  lifecycle: z.string().nullable(),
  lifecycle_reason: z.string().nullable(),
  ready_in_seconds: z.number().nullable(),
});
const answerSchema = z.object({ data: z.array(shardSchema) });

/** A shard as `GET /admin/v1/shards` tells it. */
type ToldShard = z.infer<typeof shardSchema>;

function text(value: string | number | null): string {
  return value === null ? "-" : String(value);
}

function readyIn({ lifecycle, ready_in_seconds: seconds }: ToldShard): string {
  if (lifecycle === "ready") return "now";
  return seconds === null ? "-" : `${seconds} s`;
}

/** One line for each shard, and how many are in each state. */
export function shardsTable(shards: readonly ToldShard[]): readonly string[] {
  // A cell that does not answer tells no life.
  const stateOf = ({ lifecycle, state }: ToldShard): string => lifecycle ?? state;
  const rows = shards.map((shard) => [
    shard.id.slice(shard.id.indexOf("/") + 1),
    shard.cell,
    shard.model,
    stateOf(shard),
    text(shard.lifecycle_reason),
    readyIn(shard),
    text(shard.in_flight),
    text(shard.breaker),
    text(shard.weight),
  ]);
  const head = "SHARD CELL MODEL STATE WHY READY-IN IN-FLIGHT BREAKER WEIGHT".split(" ");
  const counts = new Map<string, number>();
  for (const shard of shards) counts.set(stateOf(shard), (counts.get(stateOf(shard)) ?? 0) + 1);
  const sum = [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
  return [...formatTable([head, ...rows]), sum];
}

/** `shards`: 0 when the edge of a running `npm run dev` tells of its shards, 1 when it does not or nothing runs. */
export async function runShardsCommand(statePath: string, io: CommandIo): Promise<number> {
  const file = readRunningSystem(statePath, io);
  if (file === null) return 1;
  try {
    const response = await fetch(`${file.edge.url}/admin/v1/shards`, {
      headers: { authorization: `Bearer ${file.keys["admin"] ?? ""}` },
      signal: AbortSignal.timeout(answerMsMax),
    });
    const { data } = answerSchema.parse(await response.json());
    for (const line of shardsTable(data)) io.out(line);
    return 0;
  } catch {
    io.error(`The edge does not tell of its shards. See npm run meridian -- status.`);
    return 1;
  }
}
