/** How long a prompt is refused that broke two shards, ms, and prompts that are kept. */
const quarantineMs = 600_000;
const promptsMax = 1_000;
/** Shards that a prompt must have broken. */
const brokenMin = 2;

interface PromptRecord {
  readonly shards: readonly string[];
  /** Whose prompt it is. */
  readonly tenant: string;
  readonly untilMs: number;
}

/** Prompts that broke shards, by fingerprint; the oldest first. */
export type PoisonTable = ReadonlyMap<string, PromptRecord>;

/** Nothing broke yet. */
export const newPoisonTable: PoisonTable = new Map();

/** A shard that was found dead after a prompt. */
export interface BrokenShard {
  readonly fingerprint: string;
  readonly tenant: string;
  readonly shard: string;
}

/** The table after the prompt's shard was found dead. What is over, and the oldest beyond the bound, is forgotten. */
export function noteBroken(
  table: PoisonTable,
  { fingerprint, shard, tenant }: BrokenShard,
  nowMs: number,
): PoisonTable {
  const known = table.get(fingerprint);
  const before = known === undefined || known.untilMs <= nowMs ? [] : known.shards;
  const shards = before.includes(shard) ? before : [...before, shard];
  const next = new Map([...table].filter(([, { untilMs }]) => untilMs > nowMs));
  next.delete(fingerprint);
  next.set(fingerprint, { shards, tenant, untilMs: nowMs + quarantineMs });
  for (const oldest of next.keys()) {
    if (next.size <= promptsMax) break;
    next.delete(oldest);
  }
  return next;
}

/** Whether the prompt has broken as many shards as make it poison. */
export function isPoison(table: PoisonTable, fingerprint: string, nowMs: number): boolean {
  const record = table.get(fingerprint);
  return record !== undefined && record.untilMs > nowMs && record.shards.length >= brokenMin;
}

/** Whether a prompt of the tenant broke a shard in the last ten minutes: then its prompts keep to the tenant's own shards. */
export function hasBrokenShard(table: PoisonTable, tenant: string, nowMs: number): boolean {
  for (const record of table.values()) {
    if (record.tenant === tenant && record.untilMs > nowMs) return true;
  }
  return false;
}
