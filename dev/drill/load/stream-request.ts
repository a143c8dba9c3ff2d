import { request } from "node:http";

/** A request whose answer is an event stream. */
export interface StreamRequest {
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** Longest time to the end, ms; then the connection is closed and the answer is `client_timeout`. */
  readonly timeoutMs: number;
  /** Leaves after so many events, as a reader that goes again; null reads to the end. */
  readonly eventsMax: number | null;
}

/** What came of it. */
export interface StreamResult {
  /** `ok` when it is whole, or when the reader left as it wanted; else an error code. */
  readonly code: string;
  /** Time to the first piece of text, ms; null when none came. */
  readonly ttftMs: number | null;
  readonly shard: string | null;
  readonly streamId: string | null;
  /** Ids of the first and the last event; null without events. */
  readonly firstId: number | null;
  readonly lastId: number | null;
  readonly hasGap: boolean;
}

/** Who is told while a stream is read. */
export interface StreamListeners {
  /** The stream's id, when its headers are there. */
  readonly onStream?: (id: string) => void;
  /** The id of each event as it comes. */
  readonly onEvent?: (id: number) => void;
}

/** Enough of an error's body to hold its code. */
const errorCharactersMax = 4_000;

/**
 * Sends one request on a connection of its own: workerd closes idle ones after 5 s, and a race with that would look like an
 * error of the system. Never throws.
 */
export function sendStreamRequest(
  wanted: StreamRequest,
  listeners: StreamListeners = {},
): Promise<StreamResult> {
  return new Promise((resolve) => {
    const from = performance.now();
    let ttftMs: number | null = null;
    let shard: string | null = null;
    let streamId: string | null = null;
    let firstId: number | null = null;
    let lastId: number | null = null;
    let hasGap = false;
    let events = 0;
    let isWhole = false;
    let errorCode: string | null = null;
    let isOver = false;

    const call = request(wanted.url, {
      method: wanted.method,
      agent: false,
      headers: {
        ...wanted.headers,
        ...(wanted.body === null ? {} : { "content-length": Buffer.byteLength(wanted.body) }),
      },
    });
    const timer = setTimeout(() => end("client_timeout"), wanted.timeoutMs);

    function end(code: string): void {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      call.destroy();
      resolve({ code, ttftMs, shard, streamId, firstId, lastId, hasGap });
    }

    function take(block: string): void {
      const id = /^id: (\d+)$/m.exec(block)?.[1];
      if (id !== undefined) {
        const number = Number(id);
        if (lastId !== null && number !== lastId + 1) hasGap = true;
        firstId ??= number;
        lastId = number;
        events += 1;
        listeners.onEvent?.(number);
      }
      if (/^data: \[DONE\]$/m.test(block)) isWhole = true;
      if (ttftMs === null && /"content":"[^"]/.test(block)) ttftMs = performance.now() - from;
      if (/^data: \{"error":/m.test(block)) errorCode = codeIn(block) ?? "error_event";
      if (wanted.eventsMax !== null && events >= wanted.eventsMax) end("ok");
    }

    call.on("response", (response) => {
      shard = headerOf(response.headers["x-meridian-shard"]);
      streamId = headerOf(response.headers["x-meridian-stream"]);
      if (streamId !== null) listeners.onStream?.(streamId);
      response.setEncoding("utf8");
      const isStream = response.statusCode === 200;
      let buffer = "";
      response.on("data", (piece: string) => {
        if (isOver) return;
        buffer += piece;
        if (!isStream) {
          buffer = buffer.slice(0, errorCharactersMax);
          return;
        }
        const blocks = buffer.split("\n\n");
        buffer = blocks.pop() ?? "";
        for (const block of blocks) if (!isOver) take(block);
      });
      response.on("end", () => {
        if (!isStream) return end(codeIn(buffer) ?? `status_${response.statusCode ?? 0}`);
        end(errorCode ?? (isWhole ? "ok" : "cut"));
      });
      response.on("error", () => end("connection_lost"));
    });
    call.on("error", () => end("connection_lost"));
    call.end(wanted.body ?? undefined);
  });
}

function codeIn(text: string): string | null {
  return /"code":"([a-z_]+)"/.exec(text)?.[1] ?? null;
}

function headerOf(value: string | readonly string[] | undefined): string | null {
  return typeof value === "string" ? value : null;
}
