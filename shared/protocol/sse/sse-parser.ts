/** One event of a stream, after the WHATWG event-stream grammar (HTML Living Standard, 9.2.6). */
export interface SseEvent {
  /** The `event` field; null when there was none. */
  readonly event: string | null;
  /** All `data` lines, joined by a line feed. */
  readonly data: string;
}

export interface SseLimits {
  /** Characters of one line, unfinished ones included. */
  readonly lineCharactersMax: number;
  /** Characters of one event's data, its line feeds included. */
  readonly eventCharactersMax: number;
}

/** Engines send lines of a few hundred characters; a megabyte holds any tool call or logprobs chunk. */
export const defaultSseLimits: SseLimits = {
  lineCharactersMax: 1_048_576,
  eventCharactersMax: 4_194_304,
};

export type SsePush =
  | { readonly ok: true; readonly events: readonly SseEvent[] }
  /** The stream is not to be read further; what was complete before the fault is in `events`. */
  | {
      readonly ok: false;
      readonly events: readonly SseEvent[];
      /** A line or an event is too long, or a line is neither a comment nor a field of the grammar. */
      readonly reason: "tooLong" | "unknownField";
    };

export interface SseParser {
  /** Takes text cut anywhere, also between CR and LF. Once it has refused it refuses everything. */
  push(text: string): SsePush;
}

const carriageReturn = 13;
const lineFeed = 10;

/**
 * An incremental parser over decoded text; comments, `id` and `retry` are skipped. Stricter than a browser in one point:
 * a line that is no field of the grammar is refused, because a sender that damages its lines loses content silently.
 * Linear in the text; holds at most one line and one event.
 */
export function createSseParser(limits: SseLimits = defaultSseLimits): SseParser {
  let buffer = "";
  let isFirst = true;
  let endedWithCarriageReturn = false;
  let event: string | null = null;
  /** Null when the event has no `data` line; the usual event has one, so that lines are joined as they come. */
  let data: string | null = null;
  let refused: "tooLong" | "unknownField" | null = null;

  function takeLine(line: string, events: SseEvent[]): void {
    if (line === "") {
      if (data !== null) events.push({ event, data });
      event = null;
      data = null;
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== "data" && field !== "event") {
      if (field !== "id" && field !== "retry") refused = "unknownField";
      return;
    }
    const valueStart = line.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1;
    const value = colon < 0 ? "" : line.slice(valueStart);
    if (field === "event") {
      event = value;
      return;
    }
    data = data === null ? value : `${data}\n${value}`;
    if (data.length > limits.eventCharactersMax) refused = "tooLong";
  }

  return {
    push(text) {
      if (refused !== null) return { ok: false, events: [], reason: refused };
      const events: SseEvent[] = [];
      if (text === "") return { ok: true, events };
      let start = 0;
      if (isFirst && text.startsWith("\uFEFF")) start = 1;
      isFirst = false;
      if (endedWithCarriageReturn && text.charCodeAt(start) === lineFeed) start += 1;
      endedWithCarriageReturn = false;
      // Both are searched from where the last one was found: a chunk without CR is searched for CR once.
      let feed = text.indexOf("\n", start);
      let carriage = text.indexOf("\r", start);
      while (feed >= 0 || carriage >= 0) {
        const end = feed < 0 || (carriage >= 0 && carriage < feed) ? carriage : feed;
        const line = buffer + text.slice(start, end);
        buffer = "";
        if (line.length > limits.lineCharactersMax) refused = "tooLong";
        else takeLine(line, events);
        if (refused !== null) return { ok: false, events, reason: refused };
        start = end + 1;
        if (text.charCodeAt(end) === carriageReturn) {
          if (start === text.length) endedWithCarriageReturn = true;
          else if (text.charCodeAt(start) === lineFeed) start += 1;
        }
        if (feed >= 0 && feed < start) feed = text.indexOf("\n", start);
        if (carriage >= 0 && carriage < start) carriage = text.indexOf("\r", start);
      }
      buffer += text.slice(start);
      if (buffer.length <= limits.lineCharactersMax) return { ok: true, events };
      refused = "tooLong";
      buffer = "";
      return { ok: false, events, reason: refused };
    },
  };
}
