/** One drained shard as it is kept over restarts. */
export interface DrainRecord {
  readonly shard: string;
  /** When the drain was asked for, ms since the epoch. */
  readonly sinceMs: number;
  /** When turns that still run on the shard go on elsewhere, ms since the epoch. */
  readonly deadlineMs: number;
}

/** Where a cell keeps which of its shards are drained. */
export interface DrainFile {
  /** What was written last; empty when nothing was. @throws when there is something that cannot be read. */
  read(): readonly DrainRecord[];
  /** Replaces all of it; durable on return, whole or not at all. @throws when it cannot be written. */
  write(records: readonly DrainRecord[]): void;
}
