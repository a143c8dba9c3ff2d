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
  /** Characters of one event's data. */
  readonly eventCharactersMax: number;
}

/** Engines send lines of a few hundred characters; a megabyte holds any tool call or logprobs chunk. */
export const defaultSseLimits: SseLimits = {
  lineCharactersMax: 1_048_576,
  eventCharactersMax: 4_194_304,
};

export type SsePush =
  | { readonly ok: true; readonly events: readonly SseEvent[] }
  /** A line or an event is larger than allowed; the stream is not to be read further. */
  | { readonly ok: false; readonly events: readonly SseEvent[] };

export interface SseParser {
  /** Takes text cut anywhere, also between CR and LF. Events already complete are returned even when a limit is hit. */
  push(text: string): SsePush;
  /** Whether an event or a line has begun that no empty line has ended. */
  hasUnfinished(): boolean;
}

/** An incremental parser over decoded text; comments, `id` and `retry` are skipped. */
export function createSseParser(limits: SseLimits = defaultSseLimits): SseParser {
  let buffer = "";
  let isFirst = true;
  let endedWithCarriageReturn = false;
  let event: string | null = null;
  let data: string[] = [];
  let dataCharacters = 0;

  function takeLine(line: string, events: SseEvent[]): boolean {
    if (line === "") {
      if (data.length > 0) events.push({ event, data: data.join("\n") });
      event = null;
      data = [];
      dataCharacters = 0;
      return true;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return true;
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== "data" && field !== "event") return true;
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") {
      event = value;
      return true;
    }
    data.push(value);
    dataCharacters += value.length;
    return dataCharacters <= limits.eventCharactersMax;
  }

  return {
    push(text) {
      const events: SseEvent[] = [];
      let chunk = text;
      if (isFirst && chunk !== "") {
        if (chunk.startsWith("\uFEFF")) chunk = chunk.slice(1);
        isFirst = false;
      }
      if (endedWithCarriageReturn && chunk !== "") {
        if (chunk.startsWith("\n")) chunk = chunk.slice(1);
        endedWithCarriageReturn = false;
      }
      let start = 0;
      for (;;) {
        const feed = chunk.indexOf("\n", start);
        const carriage = chunk.indexOf("\r", start);
        const end = feed < 0 ? carriage : carriage < 0 ? feed : Math.min(feed, carriage);
        if (end < 0) break;
        const line = buffer + chunk.slice(start, end);
        buffer = "";
        start = end + 1;
        if (end === carriage) {
          if (start === chunk.length) endedWithCarriageReturn = true;
          else if (chunk.charCodeAt(start) === 10) start += 1;
        }
        if (line.length > limits.lineCharactersMax || !takeLine(line, events))
          return { ok: false, events };
      }
      buffer += chunk.slice(start);
      return { ok: buffer.length <= limits.lineCharactersMax, events };
    },
    hasUnfinished: () => buffer !== "" || data.length > 0 || event !== null,
  };
}
