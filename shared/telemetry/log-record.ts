/** Levels, least urgent first. */
export const logLevels = ["debug", "info", "warn", "error"] as const;
/** How urgent a record is. */
export type LogLevel = (typeof logLevels)[number];

/**
 * Everything that a log line may say. There is no field for content, keys, URLs or texts of others, so none can be
 * logged by accident; `formatLogRecord` drops what is not listed here.
 */
export interface LogFields {
  readonly requestId?: string;
  readonly turnId?: string;
  readonly tenant?: string;
  readonly jurisdiction?: string;
  readonly cell?: string;
  readonly region?: string;
  readonly shard?: string;
  /** The trace id of the `traceparent`. */
  readonly traceId?: string;
  /** A route's pattern (`/v1/chat/completions`), never a path with ids or a query. */
  readonly route?: string;
  readonly method?: string;
  readonly code?: string;
  readonly reason?: string;
  readonly status?: number;
  readonly durationMs?: number;
  readonly ttftMs?: number;
  readonly queueWaitMs?: number;
  readonly attempt?: number;
  readonly tries?: number;
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  readonly cachedTokens?: number;
  /** Of a chosen shard: less is better. */
  readonly score?: number;
  /** The next best shards, `<shard>=<score>` each. */
  readonly runnersUp?: string;
  readonly predictedTtftMs?: number;
  /** Of the numbers that a decision was made with (policy-version.ts). */
  readonly policyVersion?: string;
  /** What a shard's engine proved to be able to do. */
  readonly abilities?: string;
  /** A model of the topology, and a pool of its scaling. */
  readonly model?: string;
  readonly pool?: string;
  readonly replicas?: number;
  readonly wanted?: number;
  /** Why a plan is what it is: words of ours, numbers and names of pools. */
  readonly plan?: string;
  readonly count?: number;
  readonly bytes?: number;
}

/** One line of a log. `part` is `edge`, `object`, `cell`, `history`, …; `event` a fixed name, never a sentence with values. */
export interface LogRecord extends LogFields {
  readonly at: string;
  readonly level: LogLevel;
  readonly part: string;
  readonly event: string;
}

/** What code logs with; the adapter adds time and part, and drops records below its level. */
export type Log = (level: LogLevel, event: string, fields?: LogFields) => void;

const fieldNames: Readonly<Record<keyof LogFields, "string" | "number">> = {
  requestId: "string",
  turnId: "string",
  tenant: "string",
  jurisdiction: "string",
  cell: "string",
  region: "string",
  shard: "string",
  traceId: "string",
  route: "string",
  method: "string",
  code: "string",
  reason: "string",
  status: "number",
  durationMs: "number",
  ttftMs: "number",
  queueWaitMs: "number",
  attempt: "number",
  tries: "number",
  promptTokens: "number",
  completionTokens: "number",
  cachedTokens: "number",
  score: "number",
  runnersUp: "string",
  predictedTtftMs: "number",
  model: "string",
  pool: "string",
  replicas: "number",
  wanted: "number",
  plan: "string",
  policyVersion: "string",
  abilities: "string",
  count: "number",
  bytes: "number",
};

const typeOf = new Map<string, "string" | "number">(Object.entries(fieldNames));

/** Longest text of one field; ids and reasons are far shorter. */
const textLengthMax = 200;

/** Whether a record of `level` passes a log set to `minimum`. */
export function isLogged(level: LogLevel, minimum: LogLevel): boolean {
  return logLevels.indexOf(level) >= logLevels.indexOf(minimum);
}

/** The record as one JSON line without line break; fields that are not allowed, or not of their type, are left out. */
export function formatLogRecord(record: LogRecord): string {
  const line: Record<string, string | number> = {
    at: record.at,
    level: record.level,
    part: record.part,
    event: record.event.slice(0, textLengthMax),
  };
  for (const name in record) {
    const type = typeOf.get(name);
    const value: unknown = record[name as keyof LogFields];
    if (type === "string" && typeof value === "string") line[name] = value.slice(0, textLengthMax);
    if (type === "number" && typeof value === "number" && Number.isFinite(value)) {
      line[name] = value;
    }
  }
  return JSON.stringify(line);
}
