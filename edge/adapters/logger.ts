import { formatLogRecord, isLogged } from "#shared/telemetry/log-record.ts";
import type { Log, LogLevel } from "#shared/telemetry/log-record.ts";

/** Logs JSON lines of allow-listed fields to the Worker's console, which the platform collects. */
export function createLog(part: string, minimum: LogLevel, now: () => number): Log {
  return (level, event, fields = {}) => {
    if (!isLogged(level, minimum)) return;
    const at = new Date(now()).toISOString();
    // oxlint-disable-next-line no-console -- the console is the Worker's log
    console.log(formatLogRecord({ ...fields, at, level, part, event }));
  };
}
