import { readCsv } from "./csv-file.ts";
import type { CsvRow } from "./csv-file.ts";
import { UsageError } from "./usage-error.ts";

/** Tokens of one prefix chunk, the unit in which traces name equal prefixes: Mooncake's block. */
export const chunkTokens = 512;

/** One request of a trace. */
export interface TraceRequest {
  /** From the trace's start; in sessions without absolute times from the session's. */
  readonly atMs: number;
  /** What the client takes between the end of the lane's last request and this one, ms; 0 where it does not wait. */
  readonly thinkMs: number;
  /** How long the recorded service took, ms; 0 where that is not known. */
  readonly servedMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Requests of one conversation; -1 without. */
  readonly session: number;
  /** Requests of one session and lane follow each other; -1 when they do not wait for each other. */
  readonly lane: number;
  /** Keys of the prompt's chunks of {@link chunkTokens}; equal keys mean equal prefixes up to there. */
  readonly chunks: readonly number[];
}

/** A trace as read. `hasSessionTimes`: times count from each session's start, so that sessions must be placed. */
export interface Trace {
  readonly requests: readonly TraceRequest[];
  readonly hasSessionTimes: boolean;
}

const kinds: readonly {
  readonly columns: readonly string[];
  read(rows: readonly CsvRow[]): Trace;
}[] = [
  {
    columns: [
      "session",
      "agent",
      "t_s",
      "input_tokens",
      "output_tokens",
      "cached_prefix_tokens",
      "think_s",
      "api_s",
    ],
    read: readAgentic,
  },
  { columns: ["t_ms", "input_tokens", "output_tokens", "session", "blocks"], read: readBlocks },
  { columns: ["t_ms", "input_tokens", "output_tokens"], read: readPlain },
];

/**
 * Reads a CSV trace, gzip or not; the header says which kind.
 * @throws UsageError for another kind or a value that is no number.
 */
export function readTrace(path: string): Trace {
  const { columns, header, rows } = readCsv("--trace", path);
  const kind = kinds.find((one) => one.columns.every((name) => columns.includes(name)));
  if (kind === undefined) {
    const wanted = kinds.map((one) => one.columns.join(",")).join(" or ");
    throw new UsageError(`--trace ${path}: got columns ${header.slice(0, 200)}, wanted ${wanted}`);
  }
  if (rows.length === 0) throw new UsageError(`--trace ${path}: got no rows, wanted one at least`);
  return kind.read(rows);
}

function readPlain(rows: readonly CsvRow[]): Trace {
  const requests = rows.map(({ number }) => ({
    atMs: number("t_ms"),
    thinkMs: 0,
    servedMs: 0,
    inputTokens: Math.max(1, number("input_tokens")),
    outputTokens: Math.max(1, number("output_tokens")),
    session: -1,
    lane: -1,
    chunks: [],
  }));
  return { requests, hasSessionTimes: false };
}

function readBlocks(rows: readonly CsvRow[]): Trace {
  const requests = rows.map(({ number, text }) => ({
    atMs: number("t_ms"),
    thinkMs: 0,
    servedMs: 0,
    inputTokens: Math.max(1, number("input_tokens")),
    outputTokens: Math.max(1, number("output_tokens")),
    session: number("session"),
    lane: -1,
    chunks: text("blocks") === "" ? [] : text("blocks").split("-").map(Number),
  }));
  return { requests, hasSessionTimes: false };
}

/**
 * Sessions give the length of the prefix seen earlier in the session, not which request had it: taken as the lane's last, else
 * the longest so far. What was not measured is left empty.
 */
function readAgentic(rows: readonly CsvRow[]): Trace {
  const chains = new Map<string, readonly number[]>();
  let lastKey = 0;
  const requests = rows.map(({ number, text }) => {
    const milliseconds = (column: string): number =>
      text(column) === "" ? 0 : Math.max(0, number(column)) * 1_000;
    const session = number("session");
    const lane = number("agent");
    const inputTokens = Math.max(1, number("input_tokens"));
    const known = Math.floor(number("cached_prefix_tokens") / chunkTokens);
    const own = chains.get(`${session}/${lane}`) ?? [];
    const longest = chains.get(`${session}`) ?? [];
    const chunks = (own.length >= known ? own : longest).slice(0, known);
    const count = Math.floor(inputTokens / chunkTokens);
    while (chunks.length < count) chunks.push((lastKey += 1));
    chains.set(`${session}/${lane}`, chunks);
    if (chunks.length >= longest.length) chains.set(`${session}`, chunks);
    return {
      atMs: number("t_s") * 1_000,
      thinkMs: milliseconds("think_s"),
      servedMs: milliseconds("api_s"),
      inputTokens,
      outputTokens: Math.max(1, number("output_tokens")),
      session,
      lane,
      chunks,
    };
  });
  return { requests, hasSessionTimes: true };
}
