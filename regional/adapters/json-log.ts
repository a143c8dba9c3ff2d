import { formatLogRecord, isLogged } from "#shared/telemetry/log-record.ts";
import type { Log, LogLevel } from "#shared/telemetry/log-record.ts";

/**
 * A log of JSON lines of allow-listed fields.
 * @param write takes a line with its line break; standard output by default.
 */
export function createJsonLog(options: {
  readonly part: string;
  readonly minimum: LogLevel;
  /** Fields of every line. */
  readonly cell: string;
  readonly region: string;
  readonly jurisdiction: string;
  readonly write?: (line: string) => void;
}): Log {
  const { cell, jurisdiction, minimum, part, region } = options;
  const write = options.write ?? ((line) => process.stdout.write(line));
  return (level, event, fields = {}) => {
    if (!isLogged(level, minimum)) return;
    const at = new Date().toISOString();
    const record = { cell, region, jurisdiction, ...fields, at, level, part, event };
    write(`${formatLogRecord(record)}\n`);
  };
}
