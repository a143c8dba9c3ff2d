/** How long a prompt is refused that broke two shards, ms, and prompts that are kept. */
const quarantineMs = 600_000;
const promptsMax = 1_000;
/** Shards that a prompt must have broken. */
const brokenMin = 2;

interface PromptRecord {
  readonly shards: readonly string[];
  readonly untilMs: number;
}

/** Prompts that broke shards, by fingerprint; the oldest first. */
export type PoisonTable = ReadonlyMap<string, PromptRecord>;

/** Nothing broke yet. */
export const newPoisonTable: PoisonTable = new Map();

/** The table after the prompt's shard was found dead. What is over, and the oldest beyond the bound, is forgotten. */
export function noteBroken(
  table: PoisonTable,
  fingerprint: string,
  shard: string,
  nowMs: number,
): PoisonTable {
  const known = table.get(fingerprint);
  const before = known === undefined || known.untilMs <= nowMs ? [] : known.shards;
  const shards = before.includes(shard) ? before : [...before, shard];
  const next = new Map([...table].filter(([, { untilMs }]) => untilMs > nowMs));
  next.delete(fingerprint);
  next.set(fingerprint, { shards, untilMs: nowMs + quarantineMs });
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
