/** What reached this engine, so that tests can assert it. */
import type { IncomingHttpHeaders } from "node:http";

export interface RequestRecord {
  readonly id: number;
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Parsed JSON, else the text; only its size when larger than 256 KiB. */
  body: unknown;
  status: number | null;
  /** Kind of the fault that hit it. */
  fault: string | null;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  endedAtMs: number | null;
  abortedAtMs: number | null;
  aborted: boolean;
  /** Tokens that were produced for it. */
  tokens: number;
}

const recordsMax = 1_000;
/** Larger bodies are not kept: 1,000 of 25 MiB would not fit. */
export const recordedBodyBytesMax = 262_144;

export interface RequestLog {
  begin(request: Pick<RequestRecord, "method" | "path" | "headers">): RequestRecord;
  list(): readonly RequestRecord[];
  clear(): void;
}

/** Makes an empty log of the last 1,000 requests. */
export function createRequestLog(nowMs: () => number): RequestLog {
  let records: RequestRecord[] = [];
  let nextId = 0;
  return {
    begin(request) {
      nextId += 1;
      const record: RequestRecord = {
        id: nextId,
        ...request,
        body: null,
        status: null,
        fault: null,
        startedAtMs: nowMs(),
        endedAtMs: null,
        abortedAtMs: null,
        aborted: false,
        tokens: 0,
      };
      records.push(record);
      if (records.length > recordsMax) records.shift();
      return record;
    },
    list: () => records,
    clear() {
      records = [];
    },
  };
}
