import { formatLogRecord, isLogged } from "#shared/telemetry/log-record.ts";
import type { Log, LogLevel } from "#shared/telemetry/log-record.ts";
import { createLineWriter } from "./line-writer.ts";

let textMs = 0;
let text = "";

/** The time as ISO 8601; written out once for the lines of one millisecond. */
function timeText(): string {
  const nowMs = Date.now();
  if (nowMs !== textMs) {
    textMs = nowMs;
    text = new Date(nowMs).toISOString();
  }
  return text;
}

/**
 * A log of JSON lines of allow-listed fields.
 * @param write takes a line with its line break; by default standard output, where lines below `warn` wait 20 ms for others.
 */
export function createJsonLog(options: {
  readonly part: string;
  readonly minimum: LogLevel;
  /** Fields of every line. */
  readonly cell: string;
  readonly region: string;
  readonly jurisdiction: string;
  readonly write?: (line: string, isUrgent: boolean) => void;
}): Log {
  const { cell, jurisdiction, minimum, part, region } = options;
  const write = options.write ?? createLineWriter((lines) => process.stdout.write(lines));
  return (level, event, fields = {}) => {
    if (!isLogged(level, minimum)) return;
    const record = { cell, region, jurisdiction, ...fields, at: timeText(), level, part, event };
    write(`${formatLogRecord(record)}\n`, isLogged(level, "warn"));
  };
}
