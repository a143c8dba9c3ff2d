import { createWriteStream, existsSync, renameSync } from "node:fs";
import type { WriteStream } from "node:fs";
import type { Readable } from "node:stream";

/** Lines that are kept in memory for the report of a crash. */
const lastLinesMax = 20;
/** Longest line that is kept or shown, characters. */
const lineCharactersMax = 2_000;
/** Longest line of a report on the console, characters; the log has the whole. */
const shownCharactersMax = 200;
/** Errors of one part on the console within `errorWindowMs`; the rest is in its log. */
const errorsShownMax = 3;
const errorWindowMs = 5_000;

/** The log of a part: its file, its last lines, and what of it deserves the console. */
export interface PartLog {
  /** Follows a stream of the part until it ends. */
  follow(stream: Readable, kind: "stdout" | "stderr"): void;
  /** Indented and cut, for a report. */
  lastLines(count: number): readonly string[];
  close(): void;
}

/**
 * Keeps what a part writes. The file of the run before is kept beside it as `.1`. `onLine` gets each line of standard
 * output, `onError` each line that tells of an error, thinned out when there are many.
 */
export function openPartLog(
  path: string,
  listeners: { readonly onLine: (line: string) => void; readonly onError: (line: string) => void },
  nowMs: () => number = Date.now,
): PartLog {
  if (existsSync(path)) renameSync(path, `${path}.1`);
  const file: WriteStream = createWriteStream(path, { flags: "a", mode: 0o600 });
  // A full disk must not end the supervisor: the part goes on without a log.
  file.on("error", () => undefined);
  const last: string[] = [];
  const shownAtMs: number[] = [];

  function take(line: string, kind: "stdout" | "stderr"): void {
    const text = stripColour(line).slice(0, lineCharactersMax);
    if (text.trim() === "") return;
    file.write(`${text}\n`);
    last.push(text);
    if (last.length > lastLinesMax) last.shift();
    if (kind === "stdout") listeners.onLine(text);
    if (!isError(text, kind)) return;
    const now = nowMs();
    while (shownAtMs[0] !== undefined && shownAtMs[0] <= now - errorWindowMs) shownAtMs.shift();
    if (shownAtMs.length > errorsShownMax) return;
    shownAtMs.push(now);
    listeners.onError(shownAtMs.length > errorsShownMax ? `more errors in ${path}` : text);
  }

  return {
    follow(stream, kind) {
      let rest = "";
      stream.setEncoding("utf8");
      stream.on("data", (piece: string) => {
        const lines = (rest + piece).split("\n");
        rest = (lines.pop() ?? "").slice(0, lineCharactersMax);
        for (const line of lines) take(line, kind);
      });
      stream.on("end", () => take(rest, kind));
    },
    lastLines: (count) =>
      last.slice(-count).map((line) => `    ${line.slice(0, shownCharactersMax)}`),
    close: () => file.end(),
  };
}

function stripColour(text: string): string {
  // oxlint-disable-next-line no-control-regex -- escape sequences begin with a control character
  return text.replaceAll(/\u001b\[[0-9;]*m/g, "");
}

/** JSON lines tell their level; wrangler marks errors of its own, and other text on standard error is one. */
function isError(line: string, kind: "stdout" | "stderr"): boolean {
  const start = line.indexOf("{");
  if (start >= 0) {
    try {
      const record: unknown = JSON.parse(line.slice(start));
      if (typeof record === "object" && record !== null && "level" in record)
        return record.level === "error";
    } catch {
      // Not a log record.
    }
  }
  if (line.includes("[ERROR]")) return true;
  return kind === "stderr" && !/\[WARNING\]|\[wrangler|^⎔|Warning:/.test(line);
}
